"""Arithmetic of a GPU while a stage works: whether float32 products use TF32, and whether results are reproducible.

The flags belong to the process, so a stage sets them for its own work and restores them: no result depends on PyTorch's
defaults or on the stage before. A CPU has neither choice: its products are float32, and its results are reproducible.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

FILL: Any = torch.utils.deterministic  # whose flag mypy does not see


@contextmanager
def arithmetic(device: torch.device, *, tf32: bool, reproducible: bool) -> Iterator[None]:
    """Set the arithmetic of a GPU within the block.

    Args:
        device: where the block computes.
        tf32: whether convolutions and matrix products of float32 numbers may round them to 10 bits (TensorFloat-32).
        reproducible: whether to use deterministic algorithms; PyTorch warns of an operation that has none. Otherwise cuDNN
            times its algorithms and takes the fastest, which may be another one the next time.

    Source: https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if device.type != "cuda":
        yield
        return
    products, filled = torch.get_float32_matmul_precision(), FILL.fill_uninitialized_memory
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if reproducible:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.use_deterministic_algorithms(reproducible, warn_only=True)
    FILL.fill_uninitialized_memory = False  # else every new tensor is filled with NaN first, a kernel each
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=not reproducible, deterministic=reproducible, allow_tf32=tf32):
            yield
    finally:
        FILL.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        torch.set_float32_matmul_precision(products)
