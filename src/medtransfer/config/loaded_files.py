"""The files that the params of this process were loaded with, for the commands that it proposes next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

_LOADED: list[Path] = []


def remember(files: Sequence[Path]) -> None:
    """Keep the files and presets that `--params` named."""
    _LOADED[:] = files


def repeated_options() -> str:
    """Return their `--params` options, each after a blank, so that a proposed command has the same params."""
    return "".join(f" --params {shlex.quote(str(file))}" for file in _LOADED)


def prepare_command(target: str, options: str = "") -> str:
    """Return the command that prepares a target, with options such as `--size 64`."""
    return f"medtransfer prepare --target {shlex.quote(target)}{options and f' {options}'}{repeated_options()}"


def predict_command(models: Sequence[Path]) -> str:
    """Return the command that predicts images, which the user names, by the mean of models."""
    folders = " ".join(shlex.quote(str(folder)) for folder in models)
    return f"medtransfer predict --model {folders} --images FOLDER{repeated_options()}"


def make_missing() -> str:
    """Return what makes the scores and fine-tunings that a study lacks, in words that follow a reason."""
    return f"; make what is missing with `medtransfer grid{repeated_options()}`"
