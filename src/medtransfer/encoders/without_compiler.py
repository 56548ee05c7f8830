"""Import libraries without PyTorch's compiler, which they load for a name or two; it takes two seconds of CPU.

Lightning compares modules with one of its classes, torchvision asks it for a function that compiled models need, and timm excludes
functions from compilation. An optimiser loads it, but inference does without.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

import torch  # noqa: F401  # whose compiler is stood in for below

COMPILER, UTILITIES = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """Stands in for a module of the compiler, which it loads when anything is asked of it that it lacks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _withdraw()
        return getattr(import_module(self.__name__), name)


def _withdraw() -> None:
    for name in (COMPILER, UTILITIES):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _loaded() -> Any:
    """Return the compiler if it is loaded."""
    found = sys.modules.get(COMPILER)
    return None if isinstance(found, _StandIn) else found


class _CompiledType(type):
    """Type of a stand-in for `torch._dynamo.OptimizedModule`: before the compiler is loaded, nothing is compiled."""

    def __instancecheck__(cls, instance: object) -> bool:
        compiler = _loaded()
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


def _disable(function: Callable[..., Any] | None = None, recursive: bool = True, **options: Any) -> Callable[..., Any]:
    """Exclude a function from compilation once the compiler is loaded, as `torch._dynamo.disable` does."""
    if function is None:
        return partial(_disable, recursive=recursive, **options)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        compiler = _loaded()
        excluded = function if compiler is None else compiler.disable(function, recursive, **options)
        return excluded(*args, **kwargs)

    return call


def _is_compile_supported(device_type: Any) -> Any:
    return import_module(UTILITIES).is_compile_supported(device_type)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, importing a library that needs little of PyTorch's compiler does not load it."""
    if COMPILER in sys.modules:
        yield
        return
    compiler, utilities = _StandIn(COMPILER), _StandIn(UTILITIES)
    compiler.OptimizedModule = _CompiledType("OptimizedModule", (), {})  # type: ignore[attr-defined]
    compiler.disable = _disable  # type: ignore[attr-defined]
    utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {COMPILER: compiler, UTILITIES: utilities}
    try:
        yield
    finally:
        _withdraw()
