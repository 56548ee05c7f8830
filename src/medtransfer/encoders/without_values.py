"""Build models for their names and shapes alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from medtransfer.encoders.without_compiler import without_compiler

FILLING = {
    Tensor.normal_, Tensor.uniform_, Tensor.clamp_, Tensor.erfinv_, Tensor.add_, Tensor.mul_, Tensor.fill_, Tensor.zero_
}  # fmt: skip


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills tensors of the meta device, which PyTorch traces there in Python."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in FILLING and args and args[0].is_meta:
            return args[0]
        return function(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Make modules on the meta device, without memory, and skip their initialisation.

    PyTorch excludes what it traces there from compilation; that alone does not load its compiler.
    """
    with without_compiler(), torch.device("meta"), _Unfilled():
        yield
