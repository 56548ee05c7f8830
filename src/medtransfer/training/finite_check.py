"""Stop a training whose loss, weights or optimiser state are not finite, before they are saved."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medtransfer.errors import StageError
from medtransfer.training.fabric import Fabric
from medtransfer.training.parts import PartialEpoch

STEPS_BETWEEN_CHECKS = 50  # on a GPU or with several processes, where each check synchronises


@dataclass(frozen=True)
class _Step:
    """An optimiser step: its number, counted from 1 over the whole training, its epoch and learning rate."""

    number: int
    epoch: int
    lr: float


class FiniteGuard:
    """Checks the losses of a training, so that nothing that a non-finite loss has affected is ever saved.

    On a CPU each loss is checked immediately. On a GPU, or with several processes, losses stay on the device and are checked
    in groups, the last at the end of a part of the epoch, so that the host rarely waits. All processes check the same steps and see
    the same means, so all of them stop.
    """

    def __init__(
        self, fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, name: str, last_good: Callable[[], str],
        remedy: str,
    ) -> None:  # fmt: skip
        """Create a guard.

        Args:
            fabric: fabric of the training.
            model: model whose weights and buffers are checked.
            optimiser: optimiser whose state is checked.
            name: name of the loss, for the message.
            last_good: returns a clause that names the last good checkpoint or state.
            remedy: what the user can do, for the message.
        """
        self._fabric, self._model, self._optimiser = fabric, model, optimiser
        self._name, self._last_good, self._remedy = name, last_good, remedy
        alone_on_cpu = fabric.device.type == "cpu" and fabric.world_size == 1
        self._every = 1 if alone_on_cpu else STEPS_BETWEEN_CHECKS
        self._unchecked: list[tuple[Tensor, _Step]] = []
        self._last, self._total, self._count = (math.nan, _Step(0, 0, math.nan)), 0.0, 0

    def observe(self, loss: Tensor, step: int, epoch: int, lr: float) -> None:
        """Take the loss of a step, before its backward pass.

        Args:
            loss: a scalar.
            step: optimiser step, counted from 0 over the whole training.
            epoch: counted from 1.
            lr: learning rate of the step.

        Raises:
            StageError: one of the losses checked now is not finite.
        """
        self._unchecked.append((loss.detach(), _Step(step + 1, epoch, lr)))
        if len(self._unchecked) >= self._every:
            self._check_losses()

    def resume(self, done: PartialEpoch) -> None:
        """Go on in an epoch of which a part is done."""
        self._total, self._count = done.total, done.count

    def reached(self, steps: int, terms: Mapping[str, float] | None = None) -> PartialEpoch:
        """Check the losses since the last check and all tensors, and return what is done of the epoch.

        Args:
            steps: optimiser steps of the epoch that are done.
            terms: mean of each term of the loss over them.

        Raises:
            StageError: a loss, a weight, a buffer or a tensor of the optimiser's state is not finite.
        """
        self._check_losses()
        self._check_tensors(dict(_tensors(self._model, self._optimiser)))
        return PartialEpoch(steps, self._total, self._count, dict(terms or {}))

    def end_epoch(self) -> float:
        """Check as `reached` does, and return the epoch's mean loss over all processes; the next epoch begins."""
        done = self.reached(0)
        mean = done.total / done.count
        self._total, self._count = 0.0, 0
        return mean

    def _check_losses(self) -> None:
        if not self._unchecked:
            return
        losses = torch.stack([loss for loss, _ in self._unchecked])
        values = self._fabric.all_reduce(losses, reduce_op="mean").tolist()  # type: ignore[union-attr]
        for value, (_, step) in zip(values, self._unchecked, strict=True):
            self._last = value, step
            if not math.isfinite(value):
                self._stop(f"the {self._name} is {value} at optimiser step {step.number}")
        self._unchecked.clear()
        self._total, self._count = self._total + sum(values), self._count + len(values)

    def _check_tensors(self, tensors: dict[str, Tensor]) -> None:
        sums = torch.stack([value.sum().float().to(self._fabric.device) for value in tensors.values()]).tolist()
        # A sum costs a tenth of checking each number, but may overflow although all are finite; only then each is checked.
        finite = [math.isfinite(total) or bool(value.isfinite().all()) for total, value in zip(sums, tensors.values(), strict=True)]
        flags = torch.tensor(finite, dtype=torch.float32, device=self._fabric.device)
        shares = self._fabric.all_reduce(flags, reduce_op="mean").tolist()  # type: ignore[union-attr]
        for name, share in zip(tensors, shares, strict=True):
            if share < 1:
                value, step = self._last
                self._stop(f"{name} is not finite, though the {self._name} was {value:.6g}, after optimiser step {step.number}")

    def _stop(self, what: str) -> None:
        step = self._last[1]
        raise StageError(f"{what} (epoch {step.epoch}, learning rate {step.lr:.4g}); {self._last_good()}; {self._remedy}")


def _tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Yield every floating-point tensor that a saved state or checkpoint would hold, with a readable name."""
    named = [("the weight", model.named_parameters()), ("the buffer", model.named_buffers())]
    yield from ((f"{kind} {name}", value) for kind, values in named for name, value in values if value.is_floating_point())
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, slots in optimiser.state.items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                yield f"the optimiser's {slot} of {names[parameter]}", value
