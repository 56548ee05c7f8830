"""The keys of a pydantic schema at a location, of which an unknown key was probably meant to be one."""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

# Keys that earlier versions had, each with what took its place, if anything did. A params.yaml that an earlier
# `medtransfer init` wrote has the keys of its version, and every command reads it.
FORMER = {
    "export.tolerance": "export.times_rounding", "search.margin": "search.margins", "search.name": None, "search.seed": None,
    "search.storage": None, "search.trials": None, "search.workers": None, "pretrain.scheme": "pretrain.origin",
    "pretrain.schemes": "pretrain.origins", "score.scheme": "score.origin", "finetune.scheme": "finetune.origin",
    "study.schemes": "study.origins", "pretrain.sources": "pretrain.source_root", "pretrain.weights_epoch": "pretrain.origins",
    "pretrain.weights_pickle": "pretrain.origins", "pretrain.allow_partial": "pretrain.origins", "report.every": None,
}  # fmt: skip
ABOUT, LAID_OVER, PARTS = "about", "params", "parts"  # sections of a study file beside those of params.yaml


def known_keys(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that an unknown one could be.

    Args:
        schema: the schema that was validated.
        location: keys and indices from the schema to the unknown key, as pydantic's errors have them.
    """
    return _keys(schema, location[:-1])


def of_other_files(key: str) -> str | None:
    """Return what to say of a dotted key that study files have, or earlier versions had; None of any other."""
    if key in (ABOUT, LAID_OVER, PARTS):
        return "is a section of a study file; run it by `medtransfer study FILE`"
    return of_earlier_versions(key)


def of_earlier_versions(key: str) -> str | None:
    """Return what to say of a dotted key that earlier versions had; None of any other."""
    if key not in FORMER:
        return None
    return f"is a key of an earlier version{f', replaced by {FORMER[key]}' if FORMER[key] else ''}; remove it"


def _keys(kind: Any, location: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at a location of a type; empty if it is no section."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not location:
            return list(kind.model_fields)
        field = kind.model_fields.get(str(location[0]))
        return _keys(field.annotation, location[1:]) if field else []
    members = [member for member in get_args(kind) if member is not type(None)]
    if get_origin(kind) is Annotated:
        return _keys(members[0], location)
    if get_origin(kind) not in (Union, UnionType):
        return _keys(members[-1], location[1:]) if members and location else []  # of a mapping or a list
    if len(members) == 1:  # beside None, of which pydantic's errors say nothing
        return _keys(members[0], location)
    return next((_keys(member, location[1:]) for member in members if location and _is_called(member, location[0])), [])


def _is_called(member: Any, name: int | str) -> bool:
    """Return whether pydantic calls a member of a union so: by its `kind` where that decides, else by its class."""
    field = getattr(member, "model_fields", {}).get("kind")
    return name in get_args(field.annotation) if field else name == getattr(member, "__name__", None)
