"""From the fields of a table to labels: classes by name, findings by column or in one joined field, and uncertain findings."""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import check_classes
from medtransfer.records import IGNORE, UNCERTAIN
from medtransfer.wording import composed, counted, spelt_alike

POLICIES = {"ones": 1, "zeros": 0, "ignore": IGNORE, "lsr-ones": UNCERTAIN, "lsr-zeros": UNCERTAIN}
ORDER = (1, UNCERTAIN, IGNORE, 0)  # of states, the first of several rows counts
MISSING = {"na", "n/a", "#n/a", "nan", "null", "?"}  # what programs write for a missing value, and people for an unknown one
BLANKS = {"refuse": None, "negative": 0, "unknown": IGNORE, "leave-out": None}
OPTIONS: dict[str, Any] = {
    "task": "binary", "column": None, "columns": None, "separator": None, "classes": None, "labels": None, "positive": [1],
    "negative": [0], "uncertain_values": [], "uncertain": None, "blank": "refuse", "none": None, "others": "refuse",
    "several": "refuse",
}  # fmt: skip
States = tuple[int, ...]


@dataclass(frozen=True)
class _Values:
    """What the values of a finding mean: 1 present, 0 absent, UNCERTAIN or IGNORE (unknown)."""

    known: Mapping[str, int]
    blank: str

    def read(self, value: str, where: str) -> int | None:
        """Return the state that a value means, None for a blank one whose image is left out."""
        key = plain(value)
        if key in self.known:
            return self.known[key]
        if key == "" and self.blank == "refuse":
            raise InputError(
                f"expected a label in {where}, but the field is blank; set the option blank to negative, unknown or leave-out"
            )
        if key == "":
            return BLANKS[self.blank]
        raise InputError(
            f"expected one of {', '.join(map(repr, self.known))} in {where}, but got {value!r}; list it in the option positive, "
            "negative or uncertain_values"
        )


class FindingRule:
    """Labels of findings, each present or absent: a column per class, or one column of joined names."""

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        """Read the options; raise InputError."""
        self.task, self._separator, self._column = chosen["task"], chosen["separator"], chosen["column"]
        self._none, self._others, self._several = chosen["none"], chosen["others"], chosen["several"]
        self._columns = _read_columns(chosen)
        self._blank = chosen["blank"]
        named = list(chosen["classes"] or self._columns)
        if self.task == "multiclass" and self._none is not None and self._none not in named:
            named = [*named, self._none]
        check_classes(named)
        if self.task == "binary" and len(named) != 1:
            raise InputError(f"expected one class, the positive one, for the task binary, but got {named}")
        self.classes = tuple(named)
        self._findings = [name for name in named if self.task == "multilabel" or name != self._none]
        if self._separator is None and not set(self._columns) >= set(self._findings):
            raise InputError(
                f"expected a column for each of {', '.join(self._findings)}, but the options name {list(self._columns)}"
            )
        self._values = _read_values(chosen)

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        return [self._column] if self._separator is not None else [self._columns[name] for name in self._findings]

    def read(self, row: Mapping[str, str], where: str) -> States | None:
        """Return the state of each finding, None for a row that is left out."""
        if self._separator is not None:
            return self._read_joined(row[self._column], where)
        states = [self._values.read(row[self._columns[name]], f"{self._columns[name]!r} of {where}") for name in self._findings]
        known = tuple(state for state in states if state is not None)
        return known if len(known) == len(states) else None

    def _read_joined(self, field: str, where: str) -> States | None:
        names = {composed(name.strip()) for name in field.split(self._separator)} - {""}
        if not names:
            state = self._values.read("", f"{self._column!r} of {where}")
            return None if state is None else (state,) * len(self._findings)
        others = names - set(self._findings) - {self._none}
        if others and self._others == "refuse":
            raise InputError(
                f"expected some of {', '.join(self._findings)}{f' or {self._none}' if self._none else ''} in {self._column!r} of "
                f"{where}, but got {min(others)!r}; name it in the option classes, or set `others: negative`"
            )
        if self._none in names and len(names) > 1:
            raise InputError(f"expected {self._none!r} alone in {self._column!r} of {where}, but got {field!r}; correct the table")
        return tuple(int(name in names) for name in self._findings)

    def join(self, rows: Sequence[States]) -> States:
        """Return the union of the findings of several rows."""
        return tuple(min(states, key=ORDER.index) for states in zip(*rows, strict=True))

    def reduce(self, states: States, where: str) -> np.ndarray | None:
        """Return the labels that findings mean, None for an image that is left out."""
        if self.task == "multilabel":
            return np.array(states, np.uint8)
        if self.task == "binary":
            return None if states[0] == IGNORE else np.uint8(states[0])  # type: ignore[return-value]
        if IGNORE in states:
            return None
        present = [index for index, state in enumerate(states) if state]
        if len(present) > 1:
            if self._several == "leave-out":
                return None
            names = ", ".join(self._findings[index] for index in present)
            raise InputError(f"expected one class in {where}, but got {names}; set `several: leave-out` to go without such images")
        if not present and self._none is None:
            raise InputError(f"expected a class in {where}, but got none; name the class of such images with the option none")
        return np.uint8(self.classes.index(self._findings[present[0]] if present else self._none))  # type: ignore[return-value]


class ClassRule:
    """Labels of one column that holds the name or the number of a class."""

    def __init__(self, chosen: Mapping[str, Any], values: Sequence[str]) -> None:
        """Read the options; raise InputError.

        Args:
            chosen: options of the reader.
            values: all values of the column, from which the classes are taken where the options name none.
        """
        self._column, self._blank = chosen["column"], chosen["blank"]
        labels = chosen["labels"]
        if labels is not None and not isinstance(labels, Mapping):
            raise InputError(f"expected the option labels to map values of the table to names of classes, but got {labels!r}")
        classes = chosen["classes"] or list(dict.fromkeys((labels or {}).values()))
        if not classes and chosen["task"] == "ordinal":
            raise InputError("expected the option classes to name the grades in their order, but got none")
        classes = classes or self._classes_of(values, chosen.get("where", {}))
        check_classes(classes)
        if unknown := [name for name in (labels or {}).values() if name not in classes]:
            raise InputError(f"expected the option labels to map values to one of {', '.join(classes)}, but got {unknown[0]!r}")
        if len(classes) < 2:
            raise InputError(f"expected two classes or more for the task {chosen['task']}, but got {classes}")
        self.classes = tuple(classes)
        names = {name: name for name in classes} if labels is None else labels
        self._numbers = {plain(value): classes.index(name) for value, name in names.items()}
        if pairs := spelt_alike(map(str, names), plain):
            self._refuse_alike(pairs, list(map(str, names)), "classes" if labels is None else "labels")
        if len(self._numbers) < len(names):
            twice = Counter(map(str, names)).most_common(1)[0][0]
            raise InputError(
                f"expected each value once in the option labels, but {twice} is there as a number and as text; remove one"
            )

    def _classes_of(self, values: Sequence[str], kept: Mapping[str, Any]) -> list[str]:
        """Return all values, in their order, as classes; raise InputError where one probably says that the label is missing."""
        names = sort_names({composed(value.strip()) for value in values} - {""})
        if missing := [name for name in names if means_missing(name)]:
            rest = [name for name in names if name not in missing]
            count = sum(map(means_missing, values))
            where = json.dumps({**kept, self._column: rest}, ensure_ascii=False)
            without = f"to leave such rows out, set `where: {where}`, and " if len(rest) > 1 else ""
            raise InputError(
                f"expected the class of each image in the column {self._column!r}, but {counted(count, 'row')} "
                f"{'has' if count == 1 else 'have'} {missing[0]!r} there, which usually means that it is missing; {without}if it "
                "is a class, list it with the others in the option classes"
            )
        return names

    def _refuse_alike(self, pairs: Sequence[tuple[str, str]], names: Sequence[str], option: str) -> NoReturn:
        one, other = pairs[0]
        further = {name for _, name in pairs}
        kept = [name for name in names if name not in further]
        proposed = f", such as `classes: {json.dumps(kept)}`" if option == "classes" and len(kept) > 1 else ""
        raise InputError(
            f"expected values of classes that differ in more than letters' case or how a number is written, but {one!r} and "
            f"{other!r} in the column {self._column!r} do not; name one of them alone in the option {option}, which stands for the "
            f"other spellings, too{proposed}"
        )

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        return [self._column]

    def read(self, row: Mapping[str, str], where: str) -> States | None:
        """Return the number of the class, None for a row that is left out."""
        value = plain(row[self._column])
        if value in self._numbers:
            return (self._numbers[value],)
        if value == "" and self._blank == "leave-out":
            return None
        known = reprlib.repr(list(self._numbers))
        raise InputError(
            f"expected one of {known} in {self._column!r} of {where}, but got {row[self._column]!r}; name its class with the "
            "option labels or classes" + ", or set `blank: leave-out`" * (value == "")
        )

    def join(self, rows: Sequence[States]) -> States:
        """Refuse to join the classes of several rows."""
        raise InputError("expected findings to join with `repeated: union`, but a column of classes has none")

    def reduce(self, states: States, where: str) -> np.ndarray | None:
        """Return the number of the class."""
        return np.uint8(states[0])  # type: ignore[return-value]


def check_label_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError unless the options say once where the labels are."""
    if chosen["columns"] is not None and chosen["column"] is not None:
        raise InputError("expected the option column, of one column, or columns, one per class, but got both")
    if chosen["separator"] is not None and chosen["column"] is None:
        raise InputError("expected the option column beside separator, but it is missing; name the column of the joined findings")
    if chosen["separator"] is not None and chosen["classes"] is None:
        raise InputError("expected the option classes beside separator, but it is missing; list the findings that the column joins")
    for name, known in (("blank", tuple(BLANKS)), ("others", ("refuse", "negative")), ("several", ("refuse", "leave-out"))):
        if chosen[name] not in known:
            raise InputError(f"expected the option {name} to be one of {', '.join(known)}, but got {chosen[name]!r}")
    if chosen["task"] == "ordinal" and (chosen["columns"] is not None or chosen["separator"] is not None):
        raise InputError("expected one column of grades for the task ordinal, but got columns or a separator")
    policy, policies = chosen["uncertain"], ", ".join(POLICIES)
    if policy is not None and policy not in POLICIES:
        raise InputError(f"expected the option uncertain to be one of {policies}, but got {policy!r}")
    if chosen["uncertain_values"] and policy is None:
        raise InputError(f"expected the option uncertain to say what uncertain labels are, one of {policies}, but got none")
    if chosen["task"] != "multilabel" and POLICIES.get(policy) == UNCERTAIN:
        raise InputError(f"expected `uncertain` to be ones, zeros or ignore for the task {chosen['task']}, but got {policy!r}")


def holds_classes(chosen: Mapping[str, Any]) -> bool:
    """Return whether one column holds the class of every image."""
    return chosen["task"] in ("multiclass", "ordinal") and chosen["columns"] is None and chosen["separator"] is None


def _read_columns(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Return the column of each class."""
    columns = chosen["columns"]
    if columns is None and chosen["column"] is None:
        raise InputError(
            "expected the option column to name a column, or columns to list the columns of the classes, but got neither"
        )
    if columns is None:
        name = (chosen["classes"] or [chosen["column"]])[0] if isinstance(chosen["classes"], list | None) else None
        columns = {name: chosen["column"]}
    elif isinstance(columns, list):
        columns = {name: name for name in columns}
    if not isinstance(columns, Mapping) or not all(isinstance(text, str) and text for pair in columns.items() for text in pair):
        raise InputError(
            f"expected the option column to name a column, or columns to list the columns of the classes, but got {columns!r}"
        )
    return dict(columns)


def _read_values(chosen: Mapping[str, Any]) -> _Values:
    meanings = {"negative": 0, "uncertain_values": POLICIES.get(chosen["uncertain"], IGNORE), "positive": 1}
    known: dict[str, int] = {}
    for name, state in meanings.items():
        values: Any = chosen[name]
        if not isinstance(values, list) or any(type(value) not in (str, int, float) for value in values):
            raise InputError(f"expected the option {name} to list texts or numbers, such as [1] or ['YES'], but got {values!r}")
        for value in values:
            if known.setdefault(plain(value), state) != state:
                raise InputError(
                    f"expected every value in one of the options positive, negative and uncertain_values, but {value!r} is in two"
                )
    return _Values(known, chosen["blank"])


def plain(value: Any) -> str:
    """Return a value so that 1, 1.0 and `1` are equal, and YES and yes."""
    text = composed(str(value).strip())
    try:
        number = float(text)
    except ValueError:
        return text.casefold()
    return f"{number:.15g}" if math.isfinite(number) else text.casefold()


def means_missing(value: str) -> bool:
    """Return whether a field probably says that its value is missing, as `NA` and `nan` do."""
    return plain(value) in MISSING


def sort_names(names: set[str]) -> list[str]:
    """Sort names of classes, by number where all are numbers."""
    try:
        return sorted(sorted(names), key=float)
    except ValueError:
        return sorted(names)
