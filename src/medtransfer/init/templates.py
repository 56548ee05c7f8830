"""Files of a project that runs the installed medtransfer, made from those of medtransfer's own project, which the package carries.

The own project runs the code of its folder; another one runs the installed package and depends on its version.
"""

import re
from pathlib import Path

from medtransfer import __version__
from medtransfer.config import DEFAULTS

FILES = Path(__file__).with_name("files")
OWN_CODE, INSTALLED = "PYTHONPATH=src python -m medtransfer", "medtransfer"
ENVIRONMENT = "python_env.yaml"  # names the version of medtransfer, which takes the place of the code that a stage depends on
_CODE = re.compile(r"(^ +- )src/.*\n(?: +- src/.*\n)*", re.MULTILINE)
_HEADING = re.compile(r"\A(?:#.*\n)+")
DVC_HEADING = f"""\
# DVC orders the stages and versions their data. Lists of the study, targets and recipes come from params.yaml.
# Numbers come from the version of medtransfer in {ENVIRONMENT}; change it there after an upgrade.
"""
_DIGEST = "[0-9a-f]" * 12
DVCIGNORE = f"""\
# locks of running commands
.*.lock
# checkpoints of other settings, moved aside as <folder>.<digest>: no stage makes them, and other clones lack them
/checkpoints/*.{_DIGEST}/
/checkpoints/*.{_DIGEST}.*/
"""


def project_files(in_git: bool) -> dict[str, str]:
    """Return the text of each file by its path.

    Args:
        in_git: whether the project is in a Git repository.
    """
    return {
        "params.yaml": DEFAULTS.read_text(encoding="utf-8"), "dvc.yaml": _dvc(_read("dvc")),
        "MLproject": _read("MLproject").replace(OWN_CODE, INSTALLED), "conda.yaml": _conda(_read("conda")),
        ENVIRONMENT: _python_env(_read("python_env")), ".gitignore": _read("gitignore"), "README.md": _read("README"),
        "weights/README.md": _read("weights"),
    } | _dvc_repository(in_git)  # fmt: skip


def _read(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def _dvc(own: str) -> str:
    text = _CODE.sub(rf"\g<1>{ENVIRONMENT}\n", own.replace(OWN_CODE, INSTALLED))
    return _HEADING.sub(DVC_HEADING, text)


def _conda(own: str) -> str:
    """Install the package in place of the packages that it requires."""
    return re.sub(r"(\n  - pip:\n)(?:      - .*\n)+", rf"\1      - medtransfer=={__version__}\n", own)


def _python_env(own: str) -> str:
    text = own.replace("-r requirements.txt", f"medtransfer=={__version__}")
    return _HEADING.sub("# The environment of MLproject. No python version: that of the caller.\n", text)


def _dvc_repository(in_git: bool) -> dict[str, str]:
    """Return the files that make a folder one of DVC's, as `dvc init` does."""
    config = _read("dvc_config")
    if not in_git:
        config = config.replace("[core]\n", "[core]\n    no_scm = true\n")
    return {
        ".dvc/config": config,
        ".dvc/.gitignore": _read("dvc_gitignore"),
        ".dvcignore": DVCIGNORE,
    }
