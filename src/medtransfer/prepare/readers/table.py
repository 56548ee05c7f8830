"""Read images with labels from a table: binary, multilabel, multiclass or ordinal targets.

Source: the user's own data, and all datasets that publish a CSV of labels. One raw example, for `image: "scans/{id}.png"`,
`column: grade`, `task: ordinal`, `classes: ["0", "1", "2"]` and `group_by: "{patient}"`:

    labels.csv            id,patient,grade
                          a_001,7,2
    scans/a_001.png

There is no official count unless `expected` states one. Options, beside those of `labelled_images.py`:

    table         path of the CSV, or a list of them, or {train: train.csv, test: valid.csv}: the splits
    delimiter     what is between fields; " " stands for any white space
    header        names of the columns where the file has no header
    image         path of the image, in which {column} stands for a field, and `*` in a folder for any name
    strip         regular expression; what it matches at the beginning of the path is taken off
    missing       refuse | skip, with a note: rows, and names in lists, whose image does not exist
    where         column -> list of values: rows that count, such as {Frontal/Lateral: [Frontal]}
    task          binary | multilabel | multiclass | ordinal
    column        column of the labels: of a class by its name or number, of one finding, or of several joined by `separator`
    columns       columns of the findings: a list, or class -> column
    separator     between joined findings, such as "|"
    classes       names of the classes in their order, of a binary task that of the positive one; null: the columns, or all values
                  of a multiclass column; the task ordinal and `separator` need them
    labels        value in the table -> class; null: values are the names of the classes
    positive, negative, uncertain_values  lists of values of a finding
    uncertain     what uncertain findings are: ones, zeros, ignore, or soft labels drawn at each access, lsr-ones or lsr-zeros
    blank         blank labels: refuse | negative | unknown | leave-out
    none          what no finding is called: in a joined column, or the class of an image without findings
    others        joined findings that are not in `classes`: refuse | negative
    several       images of several classes where one is expected: refuse | leave-out
    repeated      rows of the same image that differ: refuse | union (a finding of one of them counts)
    group_by      the patient as text in which {column} stands for a field; `group` is searched in it, else in the image's path
    split_column  column of the published split
    splits        value of this column -> train, validation or test; null: these names, and training, val, valid, testing
    split_lists   split -> text file of image names, or a list of them; names in train and in another split are in that one
    unlisted      images that no list names: keep, for a split that is drawn | leave-out
    expected      split, or `all` -> official number of samples
    citation      citation of the dataset
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import (
    ALL,
    Scan,
    check_expected,
    check_kinds,
    match_group,
    own_patients,
    read_options,
    require_folder,
    spelling_of_patients,
)
from medtransfer.prepare.readers.labelled_images import OPTIONS as IMAGE_OPTIONS
from medtransfer.prepare.readers.labelled_images import LabelledImage, check_image_options, scan_images
from medtransfer.prepare.readers.named_images import NamedImages
from medtransfer.prepare.readers.split_lists import OPTIONS as LIST_OPTIONS
from medtransfer.prepare.readers.split_lists import SplitLists
from medtransfer.prepare.readers.table_labels import OPTIONS as LABEL_OPTIONS
from medtransfer.prepare.readers.table_labels import (
    ClassRule,
    FindingRule,
    States,
    check_label_options,
    holds_classes,
    means_missing,
    plain,
)
from medtransfer.prepare.readers.table_rows import Row, fill, list_columns, list_tables, pick, read_rows
from medtransfer.wording import are, counted

OPTIONS: dict[str, Any] = {
    "table": "labels.csv", "delimiter": ",", "header": None, "image": "{image}", "strip": "", "where": {},
    **LABEL_OPTIONS, "repeated": "refuse", "group_by": None, "split_column": None, "splits": None, **LIST_OPTIONS,
    "expected": {}, "citation": "own data", **IMAGE_OPTIONS,
}  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """A row whose image was found."""

    row: Row
    split: str | None
    group: str
    states: States


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images of a table with their labels; see `scan_table`."""
    return scan_table(root, size, options, reader="table")


def scan_table(
    root: Path, size: Size, options: Mapping[str, Any], *, reader: str, defaults: Mapping[str, Any] | None = None
) -> Scan:  # fmt: skip
    """List the images of a table with their labels; only headers are read.

    Args:
        root: folder of the dataset, which holds the table.
        size: (height, width) of the stored pictures, pixels.
        options: see the module's docstring.
        reader: name of the reader, for messages.
        defaults: options of a published dataset, which the user's override.

    Raises:
        InputError: an option is invalid, or a table, an image or a label is missing or wrong.
    """
    chosen = read_options(options, {**OPTIONS, **(defaults or {})}, reader)
    _check_options(chosen)
    require_folder(root, "`root` must name the folder that holds the table")
    tables, lists = list_tables(root, chosen), SplitLists(root, chosen)
    labels = [chosen["column"]] if holds_classes(chosen) else FindingRule(chosen).columns
    rows = read_rows(tables, chosen, [*labels, *list_columns(chosen)])
    values = [row.fields[chosen["column"]] for row in rows if _counts(row, chosen)] if holds_classes(chosen) else []
    rule: ClassRule | FindingRule = ClassRule(chosen, values) if holds_classes(chosen) else FindingRule(chosen)
    images, collected = NamedImages(root), _Collected(rule, chosen)
    for row in rows:
        name = re.sub(f"^(?:{chosen['strip']})", "", fill(chosen["image"], row))
        collected.add(row, name, images.find(name, row.where), lists, root)
    notes = [*collected.check_missing(root), *_note_unnamed(images)]
    notes += lists.finish()
    if defaults is None and not (chosen["group"] or chosen["group_by"]):
        notes.append(own_patients("group_by", " to `'{COLUMN}'`, the column that names the patient"))
    notes += collected.check_patients()
    found = list(collected.labelled())
    left_out = {split: len(names) for split, names in collected.left_out.items()}
    if left_out:
        number = sum(left_out.values())
        notes.append(f"{are(number, 'image')} left out, as the options say")
    return scan_images(
        found, root, size, chosen, task=chosen["task"], classes=rule.classes, citation=chosen["citation"],
        expected=chosen["expected"], tables=[*(path for path, _ in tables), *lists.files], left_out=left_out,
        notes=[*notes, *collected.notes],
    )  # fmt: skip


def _check_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError for options of a wrong type or value."""
    check_image_options(chosen)
    check_label_options(chosen)
    check_kinds(chosen, {
        "delimiter": str, "image": str, "strip": str, "column": str | None, "separator": str | None, "none": str | None,
        "group_by": str | None, "split_column": str | None, "citation": str,
    })  # fmt: skip
    if chosen["repeated"] not in ("refuse", "union"):
        raise InputError(f"expected the option repeated to be refuse or union, but got {chosen['repeated']!r}")
    try:
        re.compile(chosen["strip"])
    except re.error as error:
        raise InputError(
            f"expected a regular expression in the option strip, but {chosen['strip']!r} is not one ({error})"
        ) from None
    ways = [name for name in ("split_column", "split_lists") if chosen[name]] + ["table"] * isinstance(chosen["table"], Mapping)
    if len(ways) > 1:
        raise InputError(f"expected the splits in one of the options {' and '.join(ways)}, but got both; remove one")
    check_expected(chosen["expected"])


class _Collected:
    """Rows by image, and what is missing or left out."""

    def __init__(self, rule: ClassRule | FindingRule, chosen: Mapping[str, Any]) -> None:
        self.left_out: dict[str, set[str]] = defaultdict(set)
        self.notes: list[str] = []
        self._rule, self._chosen = rule, chosen
        self._missing: list[tuple[str, str]] = []
        self._found: dict[Path, list[_Found]] = defaultdict(list)

    def add(self, row: Row, name: str, path: Path | None, lists: SplitLists, root: Path) -> None:
        """Take a row, whose image may be missing."""
        split = pick(row, self._chosen)
        if lists:
            split = lists.find(path or Path(name), name)
        if lists.leaves_out(split) or not _counts(row, self._chosen):
            self.left_out[split or ALL].add(name)
            return
        if path is None:
            self._missing.append((name, row.where))
            return
        states = self._rule.read(row.fields, row.where)
        if states is None:
            self.left_out[split or ALL].add(name)
            return
        shown = path.relative_to(root).as_posix()
        group = fill(self._chosen["group_by"], row) if self._chosen["group_by"] else shown
        if self._chosen["group"]:
            group = match_group(group, self._chosen["group"], path)
        if not group:
            raise InputError(f"expected the patient of {path}, but {self._chosen['group_by']!r} is blank in {row.where}")
        self._found[path].append(_Found(row, split, group, states))

    def labelled(self) -> Iterator[LabelledImage]:
        """Yield the images with their labels; rows of the same image become one."""
        repeated = [path for path, rows in self._found.items() if len(rows) > 1]
        if repeated:
            self.notes.append(f"several rows of {len(repeated)} image(s) are joined, such as those of {repeated[0]}")
        for path, rows in self._found.items():
            first = rows[0]
            labels = self._rule.reduce(self._join(path, rows), first.row.where)
            if labels is None:
                self.left_out[first.split or ALL].add(str(path))
                continue
            yield LabelledImage(first.split, first.group, path, labels)

    def check_missing(self, root: Path) -> tuple[str, ...]:
        """Return a note on rows whose images do not exist; raise InputError unless they may be skipped."""
        if not self._missing:
            return ()
        name, where = self._missing[0]
        verb = "names" if len(self._missing) == 1 else "name"
        message = f"{counted(len(self._missing), 'row')} {verb} an image that does not exist, such as {root / name} in {where}"
        if self._chosen["missing"] == "refuse":
            raise InputError(
                f"expected the image of every row, but {message}; complete the dataset, correct the option image, or set "
                "`missing: skip` to go without them"
            )
        return (f"{message}; such rows are skipped",)

    def check_patients(self) -> tuple[str, ...]:
        """Return a note on patients that the table, or its paths, spell differently."""
        if not (self._chosen["group_by"] or self._chosen["group"]):
            return ()
        remedy = "write them alike there" if self._chosen["group_by"] else "name their images alike"
        patients = [(row.group, row.row.where) for rows in self._found.values() for row in rows]
        rows_of = Counter(name for name, _ in patients if means_missing(name))
        unknown = (
            f"{are(number, 'row')} of the patient {name!r}, which counts as one; if that means unknown, give each such row a "
            "patient of its own in the table"
            for name, number in rows_of.items()
        )
        return (*unknown, *spelling_of_patients(patients, remedy))

    def _join(self, path: Path, rows: Sequence[_Found]) -> States:
        first = rows[0]
        for other in rows[1:]:
            if (first.split, first.group) != (other.split, other.group):
                raise InputError(
                    f"expected one patient and one split of {path}, but got {first.group!r} ({first.split}) in {first.row.where} "
                    f"and {other.group!r} ({other.split}) in {other.row.where}; correct the table"
                )
            if first.states != other.states and self._chosen["repeated"] == "refuse":
                raise InputError(
                    f"expected the same labels in all rows of {path}, but {first.row.where} and {other.row.where} differ; correct "
                    "the table, or set `repeated: union`"
                )
        return first.states if len({row.states for row in rows}) == 1 else self._rule.join([row.states for row in rows])


def _counts(row: Row, chosen: Mapping[str, Any]) -> bool:
    """Return whether a row is among those that the option `where` keeps."""
    return all(plain(row.fields[column]) in map(plain, values) for column, values in chosen["where"].items())


def _note_unnamed(images: NamedImages) -> tuple[str, ...]:
    unnamed = images.unnamed()
    return (f"{are(len(unnamed), 'image')} in no row of the table and not read, such as {unnamed[0]}",) if unnamed else ()
