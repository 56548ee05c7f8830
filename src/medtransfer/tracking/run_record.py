"""Content of one finished run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """A finished run to write.

    Attributes:
        name: name of the run.
        cell: digest of everything that the result depends on.
        params: params of the cell and its recipe.
        metrics: final values.
        curves: values by metric and step.
        tags: further tags.
        artifacts: local file or folder, by its name in the run; the name of a file must end in its file name.
        datasets: arguments of `Run.log_dataset` for each input.
    """

    name: str
    cell: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    datasets: Sequence[tuple[str, str, Path, str]] = ()

    def __post_init__(self) -> None:
        for name, path in self.artifacts.items():
            if path.is_file() and Path(name).name != path.name:
                raise ValueError(f"expected an artifact's name that ends in {path.name!r}, its file's, but got {name!r}")
