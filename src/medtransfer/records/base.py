"""Base class of the records: dataclasses stored as JSON files that name their format; every field is validated on reading."""

import os
import re
import reprlib
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from medtransfer.config import MOST_PIXELS
from medtransfer.config.loaded_files import prepare_command
from medtransfer.config.requirements import requirement
from medtransfer.errors import InputError
from medtransfer.records.atomic import write_json
from medtransfer.records.json import parse_json
from medtransfer.records.untrusted import in_one_line, require_file

TARGET, CHECKPOINT = "medtransfer/target/2", "medtransfer/checkpoint/2"
SCORES, SCORE_INDEX, RESULT = "medtransfer/scores/4", "medtransfer/score-index/1", "medtransfer/result/2"
FINISHED_SCORES, FINISHED = "medtransfer/finished-scores/1", "medtransfer/finished/1"
PRETRAINING, RANKED, MODEL = "medtransfer/pretraining/1", "medtransfer/ranked/1", "medtransfer/model/1"
PREDICTION, EXPORT, SIMILARITY = "medtransfer/prediction/1", "medtransfer/export/1", "medtransfer/similarity/1"
COMMANDS = {
    TARGET: "prepare --target <name>", CHECKPOINT: "pretrain", PRETRAINING: "pretrain",
    SCORES: "score", SCORE_INDEX: "score", FINISHED_SCORES: "score", RESULT: "finetune", RANKED: "rank",
    FINISHED: "rank", MODEL: "finetune", PREDICTION: "predict", EXPORT: "export", SIMILARITY: "cka",
}  # fmt: skip
MOST_CHANNELS = 64  # of a stored picture
REMEDIES = {form: f"make it with `medtransfer {command}`" for form, command in COMMANDS.items()}
FORCED = ("prepare", "pretrain", "score", "finetune", "predict", "export")  # commands that else read what is there
AGAIN = {  # remedies where there is a record, but a broken one
    form: f"make it again with `medtransfer {command}{' --force' if command.split()[0] in FORCED else ''}`"
    for form, command in COMMANDS.items()
}


def remedy_of(form: str, path: Path, again: bool = False) -> str:
    """Return how to make a record, or one of the files beside it; of a target with its name, that of its folder."""
    if form != TARGET:
        return (AGAIN if again else REMEDIES)[form]
    command = prepare_command(path.parent.name, "--force" if again else "")
    return f"make it {'again ' if again else ''}with `{command}`"


class OlderFormat(InputError):
    """A record was written by an older version of medtransfer."""


def read_json(path: Path, form: str) -> dict[str, Any]:
    """Read a record of the given form.

    Args:
        path: the file.
        form: expected value of the field `format`, such as `medtransfer/target/1`.

    Raises:
        InputError: the file is missing, is not JSON or has another format.
        OlderFormat: an older version of medtransfer wrote it.
    """
    if not os.path.lexists(path):
        raise InputError(f"expected the file {path}, but it does not exist; {remedy_of(form, path)}")
    again = remedy_of(form, path, again=True)
    require_file(path, "a JSON record", again)
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"expected a JSON record in {path}, but it cannot be read ({in_one_line(error)}); {again}") from None
    got = value.get("format") if isinstance(value, dict) else None
    if got != form:
        _raise_format_error(path, form, got)
    return value


def _raise_format_error(path: Path, form: str, got: Any) -> NoReturn:
    """Raise the error about a file of another format, with a remedy that fits its version."""
    message = f"expected the format {form!r} in {path}, but got {got!r}"
    kind, _, version = form.rpartition("/")
    match = re.fullmatch(rf"{re.escape(kind)}/(\d{{1,6}})", got) if isinstance(got, str) else None
    if match is None:
        raise InputError(f"{message}; {remedy_of(form, path, again=True)}")
    if int(match[1]) > int(version):
        raise InputError(f"{message}, which a newer version of medtransfer wrote; update medtransfer")
    raise OlderFormat(f"{message}, which an older version of medtransfer wrote; move it away and {remedy_of(form, path)} again")


@cache
def _adapters(cls: type) -> dict[str, TypeAdapter]:
    """Return a strict validator per field of a record, which converts no values."""
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return {name: TypeAdapter(hint, config=strict) for name, hint in get_type_hints(cls, include_extras=True).items()}


@dataclass(frozen=True)
class Record:
    """Base of all records, each of which is one JSON file."""

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        write_json(path, {"format": self.form(), **asdict(self)})

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        raise TypeError(f"{cls.__name__} has no file format")

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that files of this format may lack, since they were added later; they have defaults."""
        return frozenset()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the record.

        Raises:
            InputError: the file is missing, has another format, lacks a field, or a field has an invalid value.
        """
        value, again = read_json(path, cls.form()), remedy_of(cls.form(), path, again=True)
        names = {field.name for field in fields(cls)}
        if missing := names - value.keys() - cls.added():
            raise InputError(f"expected the field {min(missing)!r} in {path}, but it is missing; {again}")
        for name, adapter in _adapters(cls).items():  # type: ignore[arg-type]
            if name not in value:
                continue
            try:
                adapter.validate_python(value[name])
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join([name, *map(str, first["loc"])])
                raise InputError(
                    f"expected another value of {field} in {path}: {requirement(first)}, but got "
                    f"{reprlib.repr(first['input'])}; {again}"
                ) from None
        return cls(**{name: value[name] for name in names & value.keys()})


# Types of fields with a range of values.
Count = Annotated[int, Field(ge=0)]
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]  # pixels
Share = Annotated[float, Field(ge=0, le=1)]
Regions = dict[str, Annotated[list[Annotated[int, Field(ge=1, le=254)]], Field(min_length=1)]]  # name -> class numbers


def input_channels(stored: int) -> int:
    """Return the channels of the images that encoders get of stored pictures: grey is repeated to three, others are kept."""
    return 3 if stored == 1 else stored
