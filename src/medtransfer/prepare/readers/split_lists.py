"""Published splits as lists of names: text files with one image per line, such as test_list.txt."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.prepare.splits import SPLITS
from medtransfer.records import in_one_line, require_file
from medtransfer.wording import are, composed, counted

OPTIONS: dict[str, Any] = {"split_lists": None, "missing": "refuse", "unlisted": "keep"}


class SplitLists:
    """The option `split_lists`: for each split a file, or several, of image names; what follows a name in its line is not read.

    A name may be a path or its last part, with or without its suffix. One in the list of training images and in another one is in
    the other split alone: published lists of training images hold validation images too.
    """

    def __init__(self, root: Path, chosen: Mapping[str, Any]) -> None:
        """Read the lists.

        Args:
            root: folder of the dataset.
            chosen: options, `split_lists`, `missing` and `unlisted` among them.

        Raises:
            InputError: an option is invalid, or a file is missing or no text.
        """
        for name, known in (("missing", ("refuse", "skip")), ("unlisted", ("keep", "leave-out"))):
            if chosen[name] not in known:
                raise InputError(f"expected the option {name} to be one of {', '.join(known)}, but got {chosen[name]!r}")
        self.files: list[Path] = []
        self._skip, self._leave_out = chosen["missing"] == "skip", chosen["unlisted"] == "leave-out"
        self._splits: dict[str, str] = {}
        self._unused: dict[str, Path] = {}
        self._twice: set[str] = set()
        named = check_splits(chosen["split_lists"] or {}, "split_lists")
        for split in ("train", "validation", "test"):
            for path in list_files(root, named.get(split, []), "split_lists"):
                self._read(path, split)

    def __bool__(self) -> bool:
        """Whether there are any lists."""
        return bool(self.files)

    def find(self, image: Path, shown: str) -> str | None:
        """Return the split of an image, None if no list names it; remember that it was looked up.

        Args:
            image: its path.
            shown: how tables name it, a path.

        Raises:
            InputError: two of its names are in different lists of held-out images.
        """
        names = {composed(name) for name in (shown, Path(shown).name, image.name, image.stem)} & self._splits.keys()
        for name in names:
            self._unused.pop(name, None)
        splits = {self._splits[name] for name in names}
        held_out = splits - {"train"}
        if len(held_out) > 1:
            raise InputError(f"expected {image} in one list, but its names {' and '.join(sorted(names))} are in several")
        return min(held_out or splits, default=None)

    def leaves_out(self, split: str | None) -> bool:
        """Return whether an image is left out because no list names it."""
        return bool(self) and split is None and self._leave_out

    def finish(self) -> list[str]:
        """Return notes on the lists, once all images were looked up.

        Raises:
            InputError: a list names an image that does not exist, which may not be skipped.
        """
        notes = []
        if self._twice:
            example = min(self._twice)
            notes.append(
                f"{are(len(self._twice), 'name')} in the list of training images and in another one, which counts ({example})"
            )
        if self._unused and not self._skip:
            name, path = next(iter(self._unused.items()))
            raise InputError(
                f"expected an image for every line of {path}, but there is none for {name!r} ({len(self._unused)} such in all "
                "lists); complete the dataset, or set `missing: skip` to go without them"
            )
        if self._unused:
            notes.append(
                f"{counted(len(self._unused), 'name')} in the lists of splits without an image (such as {next(iter(self._unused))})"
            )
        return notes

    def _read(self, path: Path, split: str) -> None:
        self.files.append(path)
        for line in read_lines(path):
            name = composed(_name(line))
            before = self._splits.get(name, split)
            if before not in ("train", split):
                raise InputError(f"expected {name!r} in one list, but {path} has it as {split} and another list as {before}")
            if before != split:
                self._twice.add(name)
            self._splits[name] = split
            self._unused[name] = path


def read_lines(path: Path) -> list[str]:
    """Return the lines of a list of image names, without blank ones; raise InputError if it is missing or no text."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"expected a list of image names in {path}, but it cannot be read ({in_one_line(error)})") from None
    return list(filter(None, map(str.strip, lines)))


def _name(line: str) -> str:
    """Return the name in a line: all of it, or what is before labels of 0 and 1, such as `00000001_000.png 0 1 0`."""
    fields = line.split()
    while len(fields) > 1 and fields[-1] in ("0", "1", "0.0", "1.0", "-1", "-1.0"):
        fields.pop()
    return line if len(fields) == len(line.split()) else " ".join(fields)


def check_splits(option: Any, name: str) -> Mapping[str, Any]:
    """Return an option that maps splits to something; raise InputError if it is no such mapping."""
    if not isinstance(option, Mapping) or not set(option) <= set(SPLITS):
        raise InputError(f"expected the option {name} to map some of {', '.join(SPLITS)}, but got {option!r}")
    return option


def list_files(root: Path, names: Any, option: str) -> list[Path]:
    """Return the files below the dataset that an option names.

    Args:
        root: folder of the dataset.
        names: a path below it, or a list of paths.
        option: name of the option, for messages.

    Raises:
        InputError: a name is no such path, or there is no such file.
    """
    given: Iterable[Any] = names if isinstance(names, list) else [names]
    if bad := [name for name in given if not isinstance(name, str) or not name or is_outside(name)]:
        raise InputError(f"expected the option {option} to name files inside the dataset, but got {bad[0]!r}")
    return [require_file(root / name, "a file of the dataset", f"add it, or correct the option {option}") for name in given]


def is_outside(name: str) -> bool:
    """Return whether a path leads out of the folder that it should be below."""
    return Path(name).is_absolute() or ".." in Path(name).parts
