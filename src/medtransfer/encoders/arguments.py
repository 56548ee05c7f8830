"""Arguments of encoders, checked without importing the encoder, whose libraries take seconds to load."""

import ast
import difflib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medtransfer.encoders import ENCODERS, require_architecture
from medtransfer.encoders.timm_index import is_model, model_names
from medtransfer.errors import InputError


def check_arguments(build: str, arguments: Mapping[str, Any]) -> None:
    """Refuse names of arguments that an encoder does not take, and names of models that timm does not have.

    Values are checked where the encoder is built.

    Args:
        build: key of ENCODERS.
        arguments: constructor arguments.

    Raises:
        InputError: a name is unknown, or an argument is missing.
    """
    require_architecture(build)
    check_names(build, arguments, _parameters(build))
    if build == "timm" and isinstance(name := arguments["name"], str) and not is_model(name):
        close = ", ".join(difflib.get_close_matches(name, sorted(model_names()), 3, 0))
        raise InputError(f"expected the name of a timm model, such as {close}, but got {name!r}; correct it")


def check_names(build: str, arguments: Iterable[str], known: Mapping[str, bool]) -> None:
    """Refuse names of arguments.

    Args:
        build: key of ENCODERS, for the message.
        arguments: names that are given.
        known: whether an argument must be given, by name.

    Raises:
        InputError: a name is unknown, or an argument is missing.
    """
    given = set(arguments)
    if unknown := sorted(given - known.keys()):
        raise InputError(
            f"expected arguments of the encoder {build} among {', '.join(sorted(known))}, but got {', '.join(unknown)}; "
            "correct the name"
        )
    if missing := [name for name, needed in known.items() if needed and name not in given]:
        raise InputError(f"expected the argument {', '.join(missing)} of the encoder {build}, but it is missing; add it")


def parameters_of(encoder: type) -> dict[str, bool]:
    """Return whether an argument of an encoder's constructor must be given, by name."""
    return {name: parameter.default is parameter.empty for name, parameter in inspect.signature(encoder).parameters.items()}


def _parameters(build: str) -> dict[str, bool]:
    """Return the same of an entry of ENCODERS, as its source file says if it has not been imported."""
    address = ENCODERS.address(build)
    module, _, attribute = (address or "").partition(":")
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or spec.origin is None or not (spec.origin.endswith(".py") and Path(spec.origin).is_file()):
        return parameters_of(ENCODERS[build])
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    for node in (node for each in body if isinstance(each, ast.ClassDef) and each.name == attribute for node in each.body):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and _is_plain(node.args):
            positional, named = [argument.arg for argument in node.args.args[1:]], node.args.kwonlyargs
            needed = len(positional) - len(node.args.defaults)
            return {name: position < needed for position, name in enumerate(positional)} | {
                argument.arg: default is None for argument, default in zip(named, node.args.kw_defaults, strict=True)
            }
    return parameters_of(ENCODERS[build])


def _is_plain(arguments: ast.arguments) -> bool:
    """Return whether a constructor has no positional-only arguments, and none of any number."""
    return not (arguments.posonlyargs or arguments.vararg or arguments.kwarg)
