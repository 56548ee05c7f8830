"""Freeze an encoder, and hash a module's weights to prove that they did not change."""

import hashlib
from itertools import chain

import torch
from torch import nn

from medtransfer.encoders.contract import Encoder


def freeze(encoder: Encoder) -> None:
    """Freeze an encoder permanently: no gradients, and eval mode even after `train()` of the whole model.

    So batch-norm statistics do not change, and stochastic depth is off.
    """
    encoder.frozen = True
    encoder.eval()
    encoder.requires_grad_(False)
    encoder.zero_grad(set_to_none=True)


def state_hash(module: nn.Module) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of every parameter, then every buffer, in the module's order."""
    digest = hashlib.sha256()
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
