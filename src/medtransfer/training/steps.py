"""Optimiser steps of one training as its recipe describes them: optimiser, clipping, moving average, compilation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from medtransfer.training.compilation import Compilation
from medtransfer.training.fabric import Fabric


def build_optimiser(
    name: str, model: nn.Module, *, lr: float, weight_decay: float, betas: Sequence[float], decay_norms: bool, fused: bool,
    scales: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:  # fmt: skip
    """Build an optimiser of the parameters that have a gradient.

    Args:
        name: `sgd`, `adam`, `adamw`, or `lars`, which is SGD with a rate per layer (You et al. 2017, arXiv 1708.03888).
        model: model to train.
        lr: learning rate.
        weight_decay: weight decay; decoupled in AdamW, part of the gradient in the others.
        betas: of Adam and AdamW; the first is the momentum of SGD and LARS.
        decay_norms: whether biases and the weights of norms decay, too.
        fused: whether one kernel makes the whole step.
        scales: factor on the learning rate of every parameter, by name; None: 1.
    """
    trained: Any = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if scales is not None:
        trained = _groups_by_scale(model, scales, weight_decay, decay_norms)
    elif not decay_norms:
        from timm.optim import param_groups_weight_decay

        trained = param_groups_weight_decay(model, weight_decay)
    if name == "sgd":
        return torch.optim.SGD(trained, lr=lr, momentum=betas[0], weight_decay=weight_decay, fused=fused)
    if name == "lars":  # parameters that do not decay have the plain rate
        from timm.optim import Lars

        return Lars(trained, lr=lr, momentum=betas[0], weight_decay=weight_decay)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(trained, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=fused)


def _groups_by_scale(
    model: nn.Module, scales: Mapping[str, float], weight_decay: float, decay_norms: bool
) -> list[dict[str, Any]]:  # fmt: skip
    """Group the trained parameters by the factor on their learning rate, `lr_scale` as in timm, and by their decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = decay_norms or not (parameter.ndim <= 1 or name.endswith(".bias"))
            groups.setdefault((scales[name], weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": group, "lr_scale": scale, "weight_decay": decay} for (scale, decay), group in groups.items()]


def can_fuse(precision: str, clip_grad: float | None) -> bool:
    """Whether the optimiser may be fused: with 16-mixed a fused one undoes the loss scaling itself, too late for clipping."""
    return clip_grad is None or precision != "16-mixed"


class Steps:
    """A model and its optimiser in training.

    Attributes:
        model: the model to train with; in evaluation use `kept`.
        optimiser: its optimiser.
        compilation: what of the training is compiled.
        average: moving average of weights and buffers, if the recipe has one.
    """

    def __init__(
        self, fabric: Fabric, raw: nn.Module, optimiser: torch.optim.Optimizer, *, compiles: bool, clip_grad: float | None,
        ema_decay: float | None,
    ) -> None:  # fmt: skip
        """Set up the model and its optimiser, and move them to the device.

        Args:
            fabric: launched.
            raw: the model.
            optimiser: optimiser of its parameters.
            compiles: whether to compile the training, on a GPU.
            clip_grad: largest norm of the gradients; None: not clipped.
            ema_decay: decay of the moving average per step; None: no average.
        """
        self.fabric, self._raw, self._clip_grad = fabric, raw, clip_grad
        self.compilation = Compilation(compiles, fabric.device)
        self.model, self.optimiser = fabric.setup(self.compilation.compile(raw), optimiser)
        self.average: nn.Module | None = None
        if ema_decay is not None:
            from timm.utils import ModelEmaV3

            self.average = ModelEmaV3(raw, decay=ema_decay, use_warmup=True)  # so that few steps do not keep the initial weights

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next step, in each group times the group's own factor."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)

    def update(self, step: int) -> None:
        """Clip the gradients, change the weights, and move their average.

        Args:
            step: optimiser step, counted from 0 over the whole training.
        """
        if self._clip_grad is not None:  # a gradient that is not finite shows in the loss or the weights, which are checked
            self.fabric.clip_gradients(self._raw, self.optimiser, max_norm=self._clip_grad, error_if_nonfinite=False)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self._raw, step + 1)  # type: ignore[operator]

    @property
    def kept(self) -> nn.Module:
        """The model to evaluate, under `fabric.autocast`, and to save, never compiled: the average, or else the trained one."""
        return self._raw if self.average is None else self.average.get_submodule("module")

    def share_buffers(self) -> None:
        """Copy the buffers of the first process to the kept model of every other, as DDP does before a training step."""
        if self.fabric.world_size > 1:
            for buffer in self.kept.buffers():
                torch.distributed.broadcast(buffer, 0)
