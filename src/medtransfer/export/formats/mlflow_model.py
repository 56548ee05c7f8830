"""An MLflow model of raw images, which `mlflow models serve` serves: a whole model folder and the code that predicts with it."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import medtransfer
from medtransfer import tracking
from medtransfer.export.formats.whole_folder import WholeFolder
from medtransfer.predict.pixels import rule_of
from medtransfer.records import ModelInfo, scratch_folder

if TYPE_CHECKING:
    from medtransfer.predict.model import Model

NEEDED = (  # packages that a prediction imports
    "huggingface-hub", "lightning-fabric", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "timm", "torch", "torchvision",
)  # fmt: skip


class MlflowModel:
    """A folder with `MLmodel`, environment, example, code and data."""

    file: ClassVar[str] = "."
    registered: ClassVar[bool] = True

    def require(self) -> None:
        """Need nothing that medtransfer does not."""

    def interface(self, info: ModelInfo) -> dict[str, dict[str, Any]]:
        """Describe what the server takes and answers."""
        from medtransfer.export import serving

        channels = info.channels if rule_of(info).channels is None else None  # of a volume the rule takes some of any number
        output: dict[str, Any] = {
            "dtype": "uint8", "shape": [None, None, None], "meaning": "masks: 0 is background, c the c-th class",
        }  # fmt: skip
        if info.of_images and info.task == "multilabel":
            output |= {"shape": [None, len(info.classes)], "meaning": f"whether the image shows {', '.join(info.classes)}"}
        elif info.of_images:
            meaning = f"whether the image is {info.classes[0]}" if info.thresholds else f"position among {', '.join(info.classes)}"
            output |= {"shape": [None], "meaning": f"{meaning}, from 0"}
        return {
            "input": {"dtype": "float32", "shape": [None, None, None, channels], "meaning": "raw images of one size"},
            "params": serving.defaults(info),
            "output": output,
        }  # fmt: skip

    def write(self, model: "Model", folder: Path) -> None:
        """Write the MLflow model; the code of this package is copied, since no registry has it."""
        from medtransfer.export import serving

        with scratch_folder(folder) as scratch:
            data = scratch / "model"
            data.mkdir()
            WholeFolder().write(model, data)
            tracking.save_model(
                folder, data, loader=serving.__name__, code=Path(medtransfer.__file__).parent,
                interface=self.interface(model.info), example=_images(model.info)[:1],
                requirements=[f"{name}=={version(name).partition('+')[0]}" for name in NEEDED],  # no +cpu: it is not on PyPI
            )  # fmt: skip

    def difference(self, model: "Model", folder: Path) -> float:
        """Load the MLflow model, and compare its predictions of 8-bit images."""
        from medtransfer.export import serving

        images = _images(model.info)
        found = tracking.load_saved_model(folder)(images, {"values": serving.EIGHT_BIT, "output": serving.PROBABILITIES})
        return float(np.abs(found - model.predict(images.astype(np.uint8))).max())


def _images(info: ModelInfo) -> np.ndarray:
    """Return two images float32 (2, H, W, C) of 8-bit values, of another size than the model's."""
    rule = rule_of(info)
    channels = rule.of_channels or max(rule.channels or [info.channels - 1]) + 1
    shape = (2, info.size[0] + 3, info.size[1] + 5, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
