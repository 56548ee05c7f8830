"""The released files that the params name, looked up before the libraries that read them are loaded."""

from pathlib import Path

from medtransfer.config import Replay
from medtransfer.errors import InputError
from medtransfer.records import require_file

REMEDY = "fetch the file again from the repository of the paper's authors"


def named_files(section: Replay) -> tuple[Path, Path]:
    """Return the files of the test results and of the robustness.

    Raises:
        InputError: one is not named, or is no file that can be read.
    """
    names = {"downstream": section.downstream, "robustness": section.robustness}
    for name, value in names.items():
        if value is None:
            raise InputError(
                f"expected --{name} <{name}_scores.csv>, but it is not given; docs/how-to/replay.md says where the paper's authors "
                "release it"
            )
    downstream, robustness = (require_file(Path(str(value)), "a table", REMEDY) for value in names.values())
    return downstream, robustness
