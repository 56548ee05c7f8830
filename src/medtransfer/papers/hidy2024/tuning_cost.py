"""What fine-tunings of the paper cost beside one of its pretrainings, in images that pass through a model of 224x224 pixels."""

from medtransfer.analysis.model import Analysis
from medtransfer.report.format import epochs, percent

EPOCHS = 150  # of a fine-tuning, A.4
TRAIN_IMAGES = {"acdc": 1902, "covid-qu": 2330, "idrid": 6426}  # per epoch, 5.2; IDRiD's are windows
PRETRAINING = 300 * 1_281_167  # epochs and training images of ImageNet-1k, A.3


def share(fine_tunings: float, target: str) -> float:
    """Return the images of full fine-tunings relative to those of one pretraining; a frozen encoder takes less."""
    return fine_tunings * EPOCHS * TRAIN_IMAGES[target] / PRETRAINING


def sentence(analysis: Analysis) -> str:
    """Say what one fine-tuning of each checkpoint costs on each dataset; empty where it is not judged."""
    once = analysis.by_selector.get("one-each")
    if once is None:
        return ""
    present = {judged.pool.fields["target"] for judged in analysis.judged}
    shares = ", ".join(f"{percent(share(once.mean_fine_tunings, name))} ({name})" for name in TRAIN_IMAGES if name in present)
    return (
        f"In images, {epochs(once.mean_fine_tunings)} fine-tunings of {EPOCHS} epochs cost at most {shares} of one ImageNet "
        "pretraining of 300 epochs."
    )
