"""Import libraries without PyTorch's compiler, which they load for a name or two; it takes two seconds of CPU.

Lightning compares modules with one of its classes, torchvision asks it for a function that compiled models need, and timm excludes
functions from compilation. An optimiser loads it, but inference does without.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

import torch

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


class _Submodules:
    """Finds and loads other modules of the compiler while it is stood in for, which loads the compiler itself."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(f"{COMPILER}.") or not isinstance(sys.modules.get(COMPILER), _StandIn):
            return None
        _withdraw()
        return spec_from_loader(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


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
    if isinstance(function, type | torch.nn.Module):  # which become others
        _withdraw()
        disabled: Callable[..., Any] = import_module(COMPILER).disable(function, recursive, **options)
        return disabled

    @cache
    def excluded() -> Any:
        return _loaded().disable(function, recursive, **options)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if _loaded() is None else excluded())(*args, **kwargs)

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
    compiler.__path__ = []  # so that its other modules are asked of _Submodules
    compiler.OptimizedModule = _CompiledType("OptimizedModule", (), {})  # type: ignore[attr-defined]
    compiler.disable = _disable  # type: ignore[attr-defined]
    utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {COMPILER: compiler, UTILITIES: utilities}
    sys.meta_path.insert(0, submodules := _Submodules())  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(submodules)  # type: ignore[arg-type]
        _withdraw()
