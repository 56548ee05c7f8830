"""Load a fine-tuned model; a frozen encoder is stored with its checkpoint alone."""

from pathlib import Path

from torch import nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.records import WEIGHTS_FILE, Cell, Result, find_checkpoint, read_tensors, series_folder
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result
from medtransfer.training.checkpoints import load_encoder


def load_model(folder: Path, checkpoints: Path) -> tuple[nn.Module, Result]:
    """Rebuild the model of a cell and load its weights.

    Args:
        folder: folder of the trained model.
        checkpoints: folder of all pretrainings, for an encoder that was frozen.

    Returns:
        The model in eval mode, and its result.

    Raises:
        InputError: a file is missing or broken, the weights were not kept, or the encoder's checkpoint is another one.
    """
    result = read_result(folder / "metrics.json")
    if not result.parts:
        raise InputError(
            f"expected the weights of the model in {folder}, but finetune.keep was `metrics`; fine-tune again with "
            "`--keep weights --force`"
        )
    whole, settings = "encoder" in result.parts, result.settings
    encoder = build_encoder(settings["build"], **settings["arguments"]) if whole else _frozen(Cell(**result.cell), checkpoints)
    model = TASKS[result.task].model(encoder, len(settings["class_names"]), settings["decoder"])
    tensors = read_tensors(folder / WEIGHTS_FILE)
    kept = {} if whole else {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    try:
        model.load_state_dict({**kept, **tensors})
    except RuntimeError as error:
        raise InputError(
            f"expected the weights of the model that {folder / 'metrics.json'} describes in {folder / WEIGHTS_FILE}, but they "
            f"do not fit ({' '.join(str(error).split())}); fine-tune again with --force"
        ) from None
    return model.eval(), result


def _frozen(cell: Cell, checkpoints: Path) -> Encoder:
    """Load the encoder that a decoder was trained on."""
    path, info = find_checkpoint(series_folder(checkpoints, cell.encoder, cell.origin), cell.epoch)
    if info.weights != cell.weights:
        raise InputError(
            f"expected the encoder that the decoder was trained on (SHA-256 {cell.weights[:12]}…) in {path}, but it is another one "
            f"({info.weights[:12]}…); fetch that pretraining, {cell.pretraining}, or fine-tune again"
        )
    return load_encoder(path, info)
