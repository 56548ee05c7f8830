"""Losses, then weights, of a training go in; their mean comes out, or the step at which one was not finite, as an error."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medtransfer.errors import StageError

STEPS_BETWEEN_LOOKS = 50  # where a look waits: for a GPU to compute what is queued, or for the other processes


@dataclass(frozen=True)
class _Moment:
    """When a loss was computed: the optimiser step counted from 1 over the whole training, the epoch, and the rate."""

    step: int
    epoch: int
    lr: float


class Watch:
    """Looks after the losses of a training, so that nothing that a bad one has touched is ever saved.

    Losses stay on the device. On a CPU each is looked at as it comes; on a GPU, or with several processes, a number of
    them at once, and the rest at the end of the epoch, so that the host rarely waits. All processes look at the same
    steps and see the same means, so that all of them stop.
    """

    def __init__(
        self, fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, name: str, last_good: Callable[[], str],
        remedy: str,
    ) -> None:  # fmt: skip
        """Start watching.

        Args:
            fabric: knows the device and the other processes.
            model: whose weights and buffers the training changes.
            optimiser: whose moments it changes.
            name: of the loss.
            last_good: says which checkpoint or state there is from before.
            remedy: what the user can do.
        """
        self._fabric, self._model, self._optimiser = fabric, model, optimiser
        self._name, self._last_good, self._remedy = name, last_good, remedy
        alone_on_cpu = fabric.device.type == "cpu" and fabric.world_size == 1
        self._every = 1 if alone_on_cpu else STEPS_BETWEEN_LOOKS
        self._waiting: list[tuple[Tensor, _Moment]] = []
        self._last, self._total, self._count = (math.nan, _Moment(0, 0, math.nan)), 0.0, 0

    def see(self, loss: Tensor, step: int, epoch: int, lr: float) -> None:
        """Take a loss, before anything is done with it.

        Args:
            loss: a scalar.
            step: the optimiser step that it belongs to, counted from 0 over the whole training.
            epoch: counted from 1.
            lr: of this step.

        Raises:
            StageError: one of the losses looked at is not finite.
        """
        self._waiting.append((loss.detach(), _Moment(step + 1, epoch, lr)))
        if len(self._waiting) >= self._every:
            self._look()

    def close(self) -> float:
        """End an epoch: give the mean loss, over all processes; the next loss starts another epoch's mean.

        Raises:
            StageError: a loss, a weight, a buffer or a moment is not finite.
        """
        self._look()
        self._check_tensors(dict(_tensors(self._model, self._optimiser)))
        mean = self._total / self._count
        self._total, self._count = 0.0, 0
        return mean

    def _look(self) -> None:
        if not self._waiting:
            return
        losses = torch.stack([loss for loss, _ in self._waiting])
        values = self._fabric.all_reduce(losses, reduce_op="mean").tolist()  # type: ignore[union-attr]
        for value, (_, moment) in zip(values, self._waiting, strict=True):
            self._last = value, moment
            if not math.isfinite(value):
                self._stop(f"the {self._name} is {value} at optimiser step {moment.step}")
        self._waiting.clear()
        self._total, self._count = self._total + sum(values), self._count + len(values)

    def _check_tensors(self, tensors: dict[str, Tensor]) -> None:
        sums = torch.stack([value.sum().float().to(self._fabric.device) for value in tensors.values()]).tolist()
        # A sum is a tenth of the work of looking at each number; it may overflow though all are finite.
        finite = [math.isfinite(total) or bool(value.isfinite().all()) for total, value in zip(sums, tensors.values(), strict=True)]
        flags = torch.tensor(finite, dtype=torch.float32, device=self._fabric.device)
        shares = self._fabric.all_reduce(flags, reduce_op="mean").tolist()  # type: ignore[union-attr]
        for name, share in zip(tensors, shares, strict=True):
            if share < 1:
                value, moment = self._last
                self._stop(f"{name} is not finite, though the {self._name} was {value:.6g}, after optimiser step {moment.step}")

    def _stop(self, what: str) -> None:
        moment = self._last[1]
        raise StageError(f"{what} (epoch {moment.epoch}, learning rate {moment.lr:.4g}); {self._last_good()}; {self._remedy}")


def _tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Give every tensor of floating-point numbers that a saved state or checkpoint would hold, named for a reader."""
    named = [("the weight", model.named_parameters()), ("the buffer", model.named_buffers())]
    yield from ((f"{kind} {name}", value) for kind, values in named for name, value in values if value.is_floating_point())
    of: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, slots in optimiser.state.items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                yield f"the optimiser's {slot} of {of[parameter]}", value
