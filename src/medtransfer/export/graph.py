"""A fine-tuned model as one graph, from stored pixels to probabilities, and what an exported graph is compared with."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from medtransfer.data.pixels import normalise, to_images
from medtransfer.export.interface import PIXELS
from medtransfer.predict.model import Model
from medtransfer.records import ModelInfo

BATCHES = (1, 2, 3)  # sizes of the batches that an export is compared on


class Graph(nn.Module):
    """Scaling to [0, 1], normalisation, network, and sigmoid or softmax: nothing that a user could forget or do otherwise."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.probabilities = model.task.probabilities
        for name, values in (("mean", model.info.mean), ("std", model.info.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the probabilities float32 (N, outputs, H, W), or (N, classes), of pixels uint8 (N, H, W, C)."""
        return self.probabilities(self.network((to_images(pixels) - self.mean) / self.std))


def trace(model: Model) -> ExportedProgram:
    """Trace the graph for any size of the batch."""
    pixels = torch.from_numpy(pixels_to_compare(model.info)[:2])
    graph = deepcopy(Graph(model)).to(memory_format=torch.contiguous_format).eval()  # PyTorch warns of weights in any other
    with torch.no_grad():
        return torch.export.export(graph, (pixels,), dynamic_shapes={PIXELS: {0: Dim("batch")}})


def pixels_to_compare(info: ModelInfo) -> np.ndarray:
    """Return three images uint8 (3, H, W, C) of the network's input: a ramp, noise, and black."""
    shape = (*info.input, info.channels)
    ramp = np.broadcast_to(np.linspace(0, 255, shape[1]).round().astype(np.uint8)[:, None], shape)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.stack([ramp, noise, np.zeros(shape, np.uint8)])


def probabilities_of(model: Model, pixels: np.ndarray) -> np.ndarray:
    """Return what the model itself predicts for pixels of its input's size."""
    return model.probabilities(normalise(to_images(pixels), model.info.mean, model.info.std)).numpy()


@torch.no_grad()
def own_rounding(model: Model) -> float:
    """Return the largest absolute difference of a model's probabilities from those of the same model in double precision."""
    pixels = pixels_to_compare(model.info)
    exact = deepcopy(Graph(model)).double().eval()
    return float(max(np.abs(probabilities_of(model, one) - exact(torch.from_numpy(one)).numpy()).max() for one in pixels[:, None]))


def graph_difference(model: Model, predict: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the largest absolute difference of predictions from those of the model, over batches of several sizes.

    Args:
        model: the original.
        predict: probabilities of pixels uint8 (N, H, W, C).
    """
    pixels = pixels_to_compare(model.info)
    expected = probabilities_of(model, pixels)
    return float(np.max([np.abs(predict(pixels[:size]) - expected[:size]).max() for size in BATCHES]))  # NaN stays NaN
