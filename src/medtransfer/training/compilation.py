"""Compile the training steps of one model, and nothing else, so that it is one graph however many models a process trains."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Compilation:
    """torch.compile of one training, on a GPU only: on a CPU it takes longer than it saves.

    PyTorch counts graphs by code, not by model, and at eight runs the code uncompiled, silently. Hence each training starts
    with a count of zero, only batches of the first batch's size are compiled, and evaluation is not.
    """

    def __init__(self, requested: bool, device: torch.device) -> None:
        """Start.

        Args:
            requested: whether the recipe says so.
            device: where the training computes.
        """
        self.requested, self.device = requested, device
        self.enabled = requested and device.type == "cuda"
        self._size, self._steps, self._smaller = 0, 0, 0

    def compile(self, model: nn.Module) -> nn.Module:
        """Return the model to train with, which shares the model's parameters."""
        if not self.enabled:
            return model
        torch.compiler.reset()
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]

    @contextmanager
    def step(self, images: int) -> Iterator[None]:
        """Run a training step of a batch, uncompiled if it has fewer or more images than the first."""
        self._size = self._size or images
        self._steps += 1
        if images == self._size:
            yield
            return
        self._smaller += 1
        with self.paused():
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Run the model uncompiled within the block."""
        if not self.enabled:
            yield
            return
        with torch.compiler.set_stance("force_eager"):
            yield

    @property
    def summary(self) -> str:
        """What was compiled and what was not, for the record; empty if compilation was not requested."""
        if not self.requested:
            return ""
        if not self.enabled:
            return f"nothing, since the device is a {self.device.type}"
        whole = f"training steps of {self._size} images" if self._size else "no step, since none was left"
        rest = f"; not {self._smaller} of {self._steps} steps of other sizes" if self._smaller else ""
        return whole + rest + _graph_breaks()


def _graph_breaks() -> str:
    """Return a clause about the places where PyTorch left the compiled graph since the count was reset."""
    from torch._dynamo.utils import counters

    breaks = counters["graph_break"]
    return f"; with {sum(breaks.values())} graph breaks ({next(iter(breaks)).splitlines()[0]})" if breaks else ""
