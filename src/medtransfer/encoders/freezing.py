"""Freeze parts of a model, and hash a module's weights to prove that they did not change."""

import hashlib
from collections.abc import Collection
from itertools import chain

import torch
from torch import nn

from medtransfer.encoders.contract import Part


def freeze(part: Part) -> None:
    """Freeze a part permanently: no gradients, and eval mode even after `train()` of the whole model.

    So batch-norm statistics do not change, and stochastic depth is off.
    """
    part.frozen = True
    part.eval()
    part.requires_grad_(False)
    part.zero_grad(set_to_none=True)


def freeze_all_but(model: nn.Module, trained: Collection[str]) -> None:
    """Freeze the parts of a model, its children, except those of the given names."""
    for name, part in model.named_children():
        if name not in trained:
            assert isinstance(part, Part)
            freeze(part)


def state_hash(module: nn.Module) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of every parameter, then every buffer, in the module's order."""
    digest = hashlib.sha256()
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
