"""Base of the records: dataclasses stored as JSON files that name their format, every field checked on reading."""

import os
import re
import reprlib
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from medtransfer.config import MOST_PIXELS
from medtransfer.errors import InputError
from medtransfer.records.atomic import write_json
from medtransfer.records.json import parse_json
from medtransfer.records.untrusted import in_one_line, require_file

TARGET, CHECKPOINT = "medtransfer/target/2", "medtransfer/checkpoint/2"
SCORES, SCORE_INDEX, RESULT = "medtransfer/scores/2", "medtransfer/score-index/1", "medtransfer/result/2"
PRETRAINING = "medtransfer/pretraining/1"
COMMANDS = {
    TARGET: "prepare --target <name>", CHECKPOINT: "pretrain", PRETRAINING: "pretrain",
    SCORES: "score", SCORE_INDEX: "score", RESULT: "finetune",
}  # fmt: skip
REMEDIES = {form: f"make it with `medtransfer {command}`" for form, command in COMMANDS.items()}


class OlderFormat(InputError):
    """A record was written by an older version of medtransfer."""


def read_json(path: Path, form: str) -> dict[str, Any]:
    """Read a record of the given form.

    Args:
        path: the file.
        form: what the file's `format` field must say, such as `medtransfer/target/1`.

    Raises:
        InputError: the file is missing, is no JSON or has another format.
    """
    if not os.path.lexists(path):
        raise InputError(f"expected the file {path}, but it does not exist; {REMEDIES[form]}")
    require_file(path, "a JSON record", REMEDIES[form])
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as fault:
        raise InputError(
            f"expected a JSON record in {path}, but it cannot be read ({in_one_line(fault)}); {REMEDIES[form]}"
        ) from None
    found = value.get("format") if isinstance(value, dict) else None
    if found != form:
        _refuse_format(path, form, found)
    return value


def _refuse_format(path: Path, form: str, found: Any) -> NoReturn:
    """Raise the error about a file of another format, with a remedy that fits its version."""
    message = f"expected the format {form!r} in {path}, but got {found!r}"
    kind, _, version = form.rpartition("/")
    other = re.fullmatch(rf"{re.escape(kind)}/(\d{{1,6}})", found) if isinstance(found, str) else None
    if other is None:
        raise InputError(f"{message}; {REMEDIES[form]}")
    if int(other[1]) > int(version):
        raise InputError(f"{message}, which a newer version of medtransfer wrote; update medtransfer")
    raise OlderFormat(f"{message}, which an older version of medtransfer wrote; move it away and {REMEDIES[form]} again")


@cache
def _adapters(cls: type) -> dict[str, TypeAdapter]:
    """Return a validator for each field of a record by its annotation; values are not converted."""
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return {name: TypeAdapter(hint, config=strict) for name, hint in get_type_hints(cls, include_extras=True).items()}


@dataclass(frozen=True)
class Record:
    """What all records share: they are read and written field by field, in their form."""

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, {"format": self.form(), **asdict(self)})

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        raise TypeError(f"{cls.__name__} has no file format")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record; a missing, foreign or incomplete file is an InputError."""
        value = read_json(path, cls.form())
        names = {field.name for field in fields(cls)}
        if missing := names - value.keys():
            raise InputError(f"expected the field {min(missing)!r} in {path}, but it is missing; {REMEDIES[cls.form()]}")
        for name, adapter in _adapters(cls).items():  # type: ignore[arg-type]
            try:
                adapter.validate_python(value[name])
            except ValidationError as fault:
                first = fault.errors()[0]
                place = ".".join([name, *map(str, first["loc"])])
                raise InputError(
                    f"expected another value of {place} in {path}: {first['msg'].removeprefix('Value error, ')}, but got "
                    f"{reprlib.repr(first['input'])}; {REMEDIES[cls.form()]}"
                ) from None
        return cls(**{name: value[name] for name in names})


# What the fields of records may hold, beyond their kind.
Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]


Share = Annotated[float, Field(ge=0, le=1)]
