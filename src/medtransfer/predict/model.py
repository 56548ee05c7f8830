"""Load a fine-tuned model from its folder, and predict from raw pixels as the model's target was prepared."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.data.passed_arrays import to_image_array
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.channels import adapt_input
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.predict.folders import read_model_info
from medtransfer.predict.pixels import IMAGES, stored_pixels
from medtransfer.predict.plan import Plan
from medtransfer.predict.windows import predict_picture, predict_whole
from medtransfer.records import (
    MODEL_FILE,
    WEIGHTS_FILE,
    Cell,
    ModelInfo,
    checkpoint_path,
    find_checkpoint,
    read_tensors,
    require_file,
    series_folder,
)
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Task
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import lay_out, open_fabric, place
from medtransfer.training.fabric import Fabric
from medtransfer.working_folder import path_text

CHUNK = 16  # images per forward pass of a GPU, the last ones filled up: an algorithm that depends on it never changes


@dataclass(frozen=True)
class Model:
    """A fine-tuned model, loaded in eval mode.

    Attributes:
        folder: where it was loaded from.
        info: its record.
        network: normalised images (N, C, H, W), of `info.input_channels` channels, to logits.
        fabric: its device and precision.
    """

    folder: Path
    info: ModelInfo
    network: nn.Module
    fabric: Fabric

    @property
    def task(self) -> Task:
        """Task of the model."""
        return TASKS[self.info.task]

    def predict(self, images: np.ndarray | Tensor, plan: Plan | None = None) -> np.ndarray:
        """Predict raw images, scaled as those of the model's target were.

        The bits of an image's prediction do not depend on the images beside it. The network is put in eval mode and stays in it.

        Args:
            images: array, or tensor on any device, (N, H, W, C) with the channels of raw images; uint8, or other real numbers,
                which the model's image rule scales: percentiles per image are those of each image, percentiles per volume or
                group those of all images together.
            plan: how images are resized, cut and flipped; None for what the model was tested with.

        Returns:
            Probabilities float32 (N, outputs, H, W): one output for one class, else background and classes. Of a model for labels
            of images (N, classes).

        Raises:
            ValueError: the images have another shape or type, or masked values.
            InputError: the model's rule does not say how to scale them, or a value is NaN or infinite.
        """
        pixels = stored_pixels(to_image_array(images, IMAGES), self.info, "the images")
        return np.stack([self.predict_stored(picture, plan).numpy() for picture in pixels])

    def predict_stored(self, picture: np.ndarray, plan: Plan | None = None) -> Tensor:
        """Predict a picture uint8 (H, W, C) of the model's channels: probabilities float32, on the CPU.

        They are (outputs, H, W), or (classes,) of a model for labels of images.
        """
        plan = plan or Plan()
        if self.info.of_images:
            return predict_whole(picture, self.info, self.probabilities, plan.flips)
        return predict_picture(picture, self.info, self.probabilities, plan)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probabilities float32 (N, outputs, H, W), or (N, classes), of normalised images (N, C, H, W), on the CPU.

        Libraries choose their algorithm by the size of a batch, so all batches have one size: a CPU, which gains nothing from
        larger ones, predicts image by image.
        """
        chunk = 1 if self.fabric.device.type == "cpu" else CHUNK
        rows = []
        self.network.eval()
        for part in images.split(chunk):
            filled = torch.cat([part, part[:1].expand(chunk - len(part), -1, -1, -1)])
            with self.fabric.autocast():
                logits = self.network(place(self.fabric, filled))
            rows.append(self.task.probabilities(logits.float())[: len(part)].cpu())
        return torch.cat(rows)


def load_model(
    folder: Path | str, checkpoints: Path | str = "checkpoints", accelerator: str = "auto", precision: str = "32-true"
) -> Model:  # fmt: skip
    """Rebuild a fine-tuned model from its folder alone, or with the checkpoint of its encoder if that was frozen.

    Args:
        folder: folder of the model, `models/<target>/<encoder>-<origin>/<cell>`.
        checkpoints: folder of all pretrainings, where a frozen encoder is looked up.
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        precision: `32-true`, `bf16-mixed`, or `16-mixed` (GPU only).

    Returns:
        The model, with `info`, `network` and `predict(images)`.

    Raises:
        InputError: the folder holds no model or is no path, a file is broken or belongs to another model, or the encoder is
            missing.
    """
    folder, checkpoints = Path(path_text(folder, "folder")), Path(path_text(checkpoints, "checkpoints"))
    info = read_model_info(folder)
    weights = folder / WEIGHTS_FILE
    require_file(weights, "the weights of a model", "fine-tune again with --force, or fetch the file")
    if (sha256 := file_sha256(weights)) != info.weights:
        raise InputError(
            f"expected the weights that {folder / MODEL_FILE} describes (SHA-256 {info.weights[:12]}…) in {weights}, but the file "
            f"differs ({sha256[:12]}…); get both files again, or fine-tune again with --force"
        )
    fabric = open_fabric(accelerator, 1, precision)
    return Model(folder, info, fabric.to_device(lay_out(_build(folder, info, checkpoints).eval())), fabric)


def _build(folder: Path, info: ModelInfo, checkpoints: Path) -> nn.Module:
    """Build the network and load its weights: float32, whatever torch's default is.

    Raises:
        InputError: they do not fit.
    """
    tensors = read_tensors(folder / WEIGHTS_FILE)
    encoder = build_encoder(info.build, **info.arguments) if info.is_whole else _frozen(folder, info, checkpoints)
    encoder = adapt_input(encoder, info.input_channels)
    network = TASKS[info.task].model(encoder, len(info.classes), info.decoder)
    kept = {} if info.is_whole else {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    try:
        network.load_state_dict({**kept, **tensors})
    except RuntimeError as error:
        raise InputError(
            f"expected the weights of the model that {folder / MODEL_FILE} describes in {folder / WEIGHTS_FILE}, but they do not "
            f"fit ({' '.join(str(error).split())[:300]}); fine-tune again with --force"
        ) from None
    return network.float()


def _frozen(folder: Path, info: ModelInfo, checkpoints: Path) -> Encoder:
    """Load the encoder that a decoder was trained on."""
    cell = Cell(**info.cell)
    series = series_folder(checkpoints, cell.encoder, cell.origin)
    if not checkpoint_path(series, cell.epoch).exists():
        raise InputError(
            f"expected the encoder of {folder}, which was frozen and is stored with its checkpoint alone, in "
            f"{checkpoint_path(series, cell.epoch)}, but it is not there; name the folder of all checkpoints, or export the model "
            "where they are"
        )
    path, found = find_checkpoint(series, cell.epoch)
    if found.weights != cell.weights:
        raise InputError(
            f"expected the encoder that the decoder was trained on (SHA-256 {cell.weights[:12]}…) in {path}, but it is another one "
            f"({found.weights[:12]}…); fetch that pretraining, {cell.pretraining}, or fine-tune again"
        )
    return load_encoder(path, found)
