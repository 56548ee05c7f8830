"""Evidence files: a CSV with one row per encoder weights, target, mode and protocol: the outcome and its cost."""

import hashlib
import reprlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from medtransfer.config import MOST_PIXELS, Name
from medtransfer.config.requirements import requirement
from medtransfer.errors import InputError
from medtransfer.records.atomic import write_text
from medtransfer.records.tables import as_csv, read_table
from medtransfer.records.untrusted import require_file

REMEDY = "export it again with `medtransfer evidence export`"
LARGEST, MOST_FAULTS = 16 * 2**20, 10  # bytes of a file; faults that a message names

Unknown = BeforeValidator(lambda value: None if value == "" else value)  # an empty field
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$", max_length=100)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Spread = Annotated[float, Field(ge=0, le=2)]
Seconds = Annotated[float, Field(ge=0, le=10**9)]
Side = Annotated[int, Field(ge=1, le=MOST_PIXELS)]


@dataclass(frozen=True)
class EvidenceRow:
    """Outcome of one encoder's weights on one target in one mode by one protocol; None where a value is not known.

    Attributes:
        weights: SHA-256 of the encoder's weights file.
        data: fingerprint of the prepared target.
        protocol: digest of the recipe of the fine-tunings.
        encoder: name of the encoder.
        origin: name of the origin of its weights.
        source: name of the source dataset.
        epoch: pretraining epoch.
        raw: digest of the target's source files, which is the same at every size.
        target: name of the target; None unless asked for, since it may be that of a hospital.
        task: what the target's labels are for.
        reader: reader that prepared the target.
        classes: number of classes, without the background.
        train_images: training samples.
        train_groups: training groups, such as patients.
        height: of the model's input, in pixels.
        width: likewise.
        mode: mode of transfer.
        metric: name of the outcome, such as dice or auc; higher is better.
        mean: of the outcome over seeds.
        std: its standard deviation (ddof 1); None with one seed.
        seeds: number of seeds.
        train_epochs: passes over the training samples, per seed.
        images_seen: training images in all passes, per seed.
        seconds: mean duration of training and testing, per seed.
        medtransfer: version of medtransfer that exported it.
        torch: version of torch that trained.
        git_revision: revision of the code that trained.
    """

    weights: Sha256
    data: Digest
    protocol: Digest
    encoder: Name
    origin: Name
    source: Name
    epoch: Count
    raw: Annotated[Digest | None, Unknown]
    target: Annotated[Name | None, Unknown]
    task: Name
    reader: Annotated[Name | None, Unknown]
    classes: Positive
    train_images: Annotated[Positive | None, Unknown]
    train_groups: Annotated[Positive | None, Unknown]
    height: Annotated[Side | None, Unknown]
    width: Annotated[Side | None, Unknown]
    mode: Name
    metric: Name
    mean: Annotated[float, Field(ge=-1, le=1)]
    std: Annotated[Spread | None, Unknown]
    seeds: Positive
    train_epochs: Positive
    images_seen: Annotated[Positive | None, Unknown]
    seconds: Annotated[Seconds | None, Unknown]
    medtransfer: Version
    torch: Annotated[Version | None, Unknown]
    git_revision: Annotated[Version | None, Unknown]

    @property
    def key(self) -> tuple[str, ...]:
        """What it is an outcome of; of rows with the same key one counts."""
        return self.weights, self.data, self.mode, self.protocol, self.metric

    @property
    def name(self) -> str:
        """Name of its weights, as of a checkpoint's files: `unet-simple/epoch-010`."""
        return f"{self.encoder}-{self.origin}/epoch-{self.epoch:03d}"

    @property
    def target_ids(self) -> frozenset[str]:
        """Everything that names its target; rows that share one are of the same target."""
        return frozenset(name for name in (self.data, self.raw, self.target) if name)

    @property
    def anonymous(self) -> "EvidenceRow":
        """The row without the name of its target."""
        return replace(self, target=None)


@cache
def _adapters() -> dict[str, TypeAdapter]:
    """Return the validator of every column, in the order of a file."""
    hints, finite = get_type_hints(EvidenceRow, include_extras=True), ConfigDict(allow_inf_nan=False)
    return {field.name: TypeAdapter(hints[field.name], config=finite) for field in fields(EvidenceRow)}


def write_evidence(path: Path, rows: Iterable[EvidenceRow]) -> None:
    """Write rows as CSV, atomically; the same rows give the same bytes, whatever their order.

    Raises:
        InputError: a row could not be read again, such as one with a name that no parameter may have.
    """
    rows = list(rows)
    for row in rows:
        parsed = _parse({name: "" if value is None else str(value) for name, value in asdict(row).items()})
        if not isinstance(parsed, EvidenceRow):
            raise InputError(f"expected plain names and numbers in the evidence on {row.name}, but got {'; '.join(parsed)}")
    write_text(path, _as_text(rows))


def import_evidence(rows: Iterable[EvidenceRow], folder: Path) -> Path | None:
    """Store rows in a folder, in a file named by their digest; return None if they are there already."""
    text = _as_text(rows)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.csv"
    if path.exists():
        return None
    write_text(path, text)
    return path


def _as_text(rows: Iterable[EvidenceRow]) -> str:
    ordered = sorted(rows, key=lambda row: (row.metric, row.data, row.mode, row.protocol, row.name, row.weights))
    return as_csv([asdict(row) for row in ordered]) if ordered else ",".join(_adapters()) + "\n"


def read_evidence(path: Path) -> list[EvidenceRow]:
    """Read and validate an evidence file, which anyone may have written.

    Raises:
        InputError: it is no table, too large, or has other columns; or it has faults, each named with its line.
    """
    require_file(path, "evidence", REMEDY)
    if (size := path.stat().st_size) > LARGEST:
        raise InputError(f"expected at most {LARGEST} bytes of evidence in {path}, but got {size}; {REMEDY}")
    table = read_table(path, REMEDY)
    for name in sorted(_adapters().keys() ^ set(table.columns)):
        state = "is missing" if name in _adapters() else "is not one of them"
        raise InputError(f"expected the columns of evidence in {path}, but {reprlib.repr(name)} {state}; {REMEDY}")
    rows, faults, lines = list[EvidenceRow](), list[str](), dict[tuple[str, ...], int]()
    for line, values in zip(table.lines, table.rows, strict=True):
        parsed = _parse(dict(zip(table.columns, values, strict=True)))
        if not isinstance(parsed, EvidenceRow):
            faults += [f"line {line}, {fault}" for fault in parsed]
        elif first := lines.get(parsed.key):
            faults.append(f"line {line}: expected another key than that of line {first}, but weights, data and mode are the same")
        else:
            lines[parsed.key] = line
            rows.append(parsed)
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise InputError(f"expected evidence in {path}, but got {'; '.join(faults[:MOST_FAULTS])}{more}; {REMEDY}")
    return rows


def _parse(values: dict[str, str]) -> EvidenceRow | list[str]:
    """Make a row of the fields of a line, or return a sentence about each fault."""
    parsed, faults = dict[str, Any](), list[str]()
    for name, adapter in _adapters().items():
        try:
            parsed[name] = adapter.validate_python(values[name])
        except ValidationError as error:
            message = requirement(error.errors()[0])
            faults.append(f"{name} {reprlib.repr(values[name])}: {message}")
    if not faults and (parsed["std"] is None) != (parsed["seeds"] == 1):
        faults.append(f"std {values['std']!r}: expected a value from two seeds on and none of one, but got {values['seeds']} seeds")
    return faults or EvidenceRow(**parsed)
