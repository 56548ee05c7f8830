"""Model that MLflow loads from its folder and serves: raw images to masks or labels."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.predict.model import Model, load_model
from medtransfer.predict.pixels import rule_of
from medtransfer.records import ModelInfo

EIGHT_BIT, RAW = "8-bit", "raw"
MASKS, LABELS, PROBABILITIES = "masks", "labels", "probabilities"


def defaults(info: ModelInfo) -> dict[str, str]:
    """Return the defaults of the parameters of a request.

    `values` says what the numbers are: `8-bit` values are kept, `raw` ones are scaled by the image rule. No rule can guess it
    from the numbers; the default is what images of the model's target usually are. `output` is `masks`, or `labels` of a model for
    labels of images, or `probabilities`.
    """
    rule = rule_of(info)
    of_pictures = rule.kind == "keep" or rule.over == "image"
    return {"values": EIGHT_BIT if of_pictures else RAW, "output": LABELS if info.of_images else MASKS}


class Served:
    """A model, as MLflow's pyfunc flavour calls it."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, images: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict the images of a request.

        Args:
            images: float32 (N, H, W, C). Percentiles per volume are those of all of them: send a volume in one request.
            params: `values` and `output`, see `defaults`.

        Returns:
            Masks uint8 (N, H, W), or probabilities float32 (N, outputs, H, W); of a model for labels of images uint8 (N,) or
            (N, L), or probabilities (N, classes).

        Raises:
            InputError: a parameter has an unknown value, or the images do not have the values that it says.
        """
        chosen = {**defaults(self.model.info), **(params or {})}
        for name, known in (("values", (EIGHT_BIT, RAW)), ("output", (defaults(self.model.info)["output"], PROBABILITIES))):
            if chosen[name] not in known:
                raise InputError(f"expected the parameter {name} to be {' or '.join(known)}, but got {chosen[name]!r}; correct it")
        found = self.model.predict(_as_bytes(images) if chosen["values"] == EIGHT_BIT else images)
        if chosen["output"] == PROBABILITIES:
            return found
        return self.model.task.decide(torch.from_numpy(found), self.model.info.thresholds).numpy()


def _as_bytes(images: np.ndarray) -> np.ndarray:
    pixels = np.nan_to_num(images, nan=-1).clip(0, 255).astype(np.uint8)
    if (pixels != images).any():
        raise InputError(
            f"expected whole numbers from 0 to 255, since the parameter values is {EIGHT_BIT!r}, but got others; send "
            f'"params": {{"values": "{RAW}"}} to have them scaled by the image rule'
        )
    return pixels


class Answering(Served):
    """A served model whose refusals reach the client: of other exceptions MLflow's server answers a traceback."""

    def predict(self, images: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict the images of a request, as `Served` does.

        Raises:
            MlflowException: what `Served` refuses, in its words.
        """
        try:
            return super().predict(images, params)
        except InputError as error:
            raise tracking.refusal(str(error)) from error


def _load_pyfunc(folder: str) -> Served:
    """Load the model; the name is MLflow's."""
    return Answering(load_model(Path(folder)))
