"""Write the params of a study as one file, for `dvc repro`, `mlflow run` and single commands."""

import shlex
from pathlib import Path

import yaml

from medtransfer.config import DEFAULTS
from medtransfer.config.study_files import StudyFile
from medtransfer.errors import InputError
from medtransfer.records import write_text
from medtransfer.studies.narrowing import of_study, with_defaults_of_study


def write_params(chosen: StudyFile, file: Path, force: bool) -> str:
    """Write all params of a study of one part, or of one part of it.

    Args:
        chosen: the study.
        file: file to write.
        force: whether to replace an existing one.

    Raises:
        InputError: it has several parts, or the file exists.
    """
    if len(chosen.parts) > 1:
        names = ", ".join(f"{chosen.name}/{part.name}" for part in chosen.parts)
        raise InputError(f"expected one part of {chosen.name}, since a file of params has one recipe; name one of {names}")
    if file.exists() and file.samefile(DEFAULTS):
        raise InputError(
            f"expected another file than {file}, which holds every default in a clone of medtransfer; make a project by "
            "`medtransfer init FOLDER`, and write its params.yaml"
        )
    if file.exists() and not force:
        raise InputError(f"expected no file at {file}, but it exists; replace it with --force, or name another one")
    (part,) = chosen.parts
    name = f"{chosen.name}/{part.name}" if part.name else chosen.name
    params = with_defaults_of_study(of_study(part.params, part.params.study.targets, part.params.study.origins))
    text = yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(file, f"# The study {name}: {chosen.about.what}\n{text}")
    return f"wrote {file}\nNext: {_next(file)}"


def _next(file: Path) -> str:
    """Return what to do with a written file; DVC reads only the params.yaml beside its dvc.yaml."""
    if file.name != "params.yaml":
        return f"medtransfer grid --params {shlex.quote(str(file))}; for `dvc repro` write it as the params.yaml of a project"
    folder = shlex.quote(str(file.parent))
    enter = "" if file.parent == Path() else f"cd {folder} && "
    return (
        f"{enter}dvc repro report"
        if (file.parent / "dvc.yaml").exists()
        else f"medtransfer init {folder}, then {enter}dvc repro report"
    )
