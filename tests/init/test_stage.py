"""`medtransfer init`: the same stages and entry points as the project's own, and nothing is overwritten."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer import __version__
from medtransfer.config import default_params
from medtransfer.errors import InputError
from medtransfer.init import stage
from medtransfer.init.stage import run
from medtransfer.working_folder import load

ROOT = Path(__file__).parents[2]
FILES = {
    "params.yaml", "dvc.yaml", "MLproject", "conda.yaml", "python_env.yaml", ".gitignore", "README.md",
    ".dvc/config", ".dvc/.gitignore", ".dvcignore", "weights/README.md",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _environments(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path_factory.mktemp("environments")))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project in an empty folder, without waiting for MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "link_environment", lambda folder: Path("somewhere"))
        run(tmp_path / "mine")
    return tmp_path / "mine"


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_an_empty_folder_gets_every_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(listing(project)) == FILES
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    monkeypatch.chdir(project)
    assert load() == default_params()


def test_dvc_has_the_projects_stages_with_the_version_for_the_code(project: Path) -> None:
    def installed(part: Any) -> Any:
        """Return a stage of the project's dvc.yaml as another project has it."""
        if isinstance(part, dict):
            return {key: installed(value) for key, value in part.items()}
        if isinstance(part, list):
            code = [item for item in part if isinstance(item, str) and item.startswith("src/")]
            return [installed(item) for item in part if item not in code] + (["python_env.yaml"] if code else [])
        return part.replace("PYTHONPATH=src python -m medtransfer ", "medtransfer ") if isinstance(part, str) else part

    text = (project / "dvc.yaml").read_text()
    assert yaml.safe_load(text) == installed(own("dvc.yaml"))
    assert "src" not in text and "tests" not in text


def test_dvc_resolves_the_stages(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(project)
    with Repo(str(project)) as repo:
        commands = {found.cmd for found in repo.index.stages}
    assert {"medtransfer prepare --target sample", "medtransfer report"} <= commands


def test_dvc_does_not_see_checkpoints_that_were_moved_aside(project: Path) -> None:
    """Else stages that depend on the folder of all checkpoints are out of date in a clone, which lacks these."""
    from dvc.repo import Repo

    for name in ("unet-simple", "unet-simple.be460c48614e", "unet-simple.be460c48614e.2"):
        (project / "checkpoints" / name).mkdir(parents=True)
    series = "1.2.840.113619.123456789012"  # DICOM
    (project / "data/raw" / series).mkdir(parents=True)
    assert set((ROOT / ".dvcignore").read_text().splitlines()) >= set((project / ".dvcignore").read_text().splitlines()[1:])
    with Repo(str(project)) as repo:
        seen = {Path(folder).name for folder, _, _ in repo.dvcignore.walk(repo.fs, str(project / "checkpoints"))}
        kept = {Path(folder).name for folder, _, _ in repo.dvcignore.walk(repo.fs, str(project / "data"))}
    assert seen == {"checkpoints", "unet-simple"} and kept == {"data", "raw", series}


def test_mlflow_has_the_projects_entry_points(project: Path) -> None:
    written, expected = yaml.safe_load((project / "MLproject").read_text()), own("MLproject")
    for entry in expected["entry_points"].values():
        entry["command"] = entry["command"].removeprefix("PYTHONPATH=src python -m ")
    assert written == expected


def test_environments_install_this_version(project: Path) -> None:
    conda, python = (yaml.safe_load((project / name).read_text()) for name in ("conda.yaml", "python_env.yaml"))
    assert conda == own("conda.yaml") | {"dependencies": ["python>=3.11", "pip", {"pip": [f"medtransfer=={__version__}"]}]}
    assert python == own("python_env.yaml") | {"dependencies": [f"medtransfer=={__version__}"]}


def test_the_target_of_the_readme_is_valid(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = (project / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    (project / "more.yaml").write_text(f"prepare:\n  targets:\n{block}")
    monkeypatch.chdir(project)
    assert load([Path("more.yaml")]).prepare.targets["my-lesions"].reader == "folder"


def test_a_second_time_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "dvc.yaml").unlink()  # as after a stop
    monkeypatch.chdir(project)
    assert f"written in {project}: dvc.yaml\n" in run(Path())
    before = listing(project)
    assert f"nothing is missing in {project}\n" in run(Path())
    assert listing(project) == before


def test_what_exists_in_a_repository_of_ones_own_is_kept_and_named(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "python_env.yaml").write_text("dependencies: [torch]\n")
    (tmp_path / "params.yaml").write_text("finetune: {lr: 1}\n")
    (tmp_path / ".gitignore").write_text("/secret\n/data/")
    text = run(tmp_path)
    assert "kept as they are, since they exist: params.yaml, python_env.yaml, README.md" in text
    assert "params.yaml lacks study.encoders" in text and "finetune.lr," not in text and "`dvc repro` needs every key" in text
    assert "python_env.yaml is your own" in text
    assert (tmp_path / "README.md").read_text() == "mine"
    ignored = (tmp_path / ".gitignore").read_text().splitlines()
    assert ignored[:2] == ["/secret", "/data/"] and ignored.count("/data/") == 1 and "/checkpoints/" in ignored
    assert "no_scm" not in (tmp_path / ".dvc/config").read_text()


def test_lines_that_were_added_are_counted(project: Path) -> None:
    ignored = project / ".gitignore"
    lines = ignored.read_text().splitlines()
    for lacking, words in ((2, "2 lines"), (1, "1 line")):
        ignored.write_text("\n".join(lines[:-lacking]))
        assert f"added to .gitignore: {words}\n" in run(project)


def test_what_is_of_an_earlier_version_is_named(project: Path) -> None:
    params, stages = project / "params.yaml", yaml.safe_load((project / "dvc.yaml").read_text())
    params.write_text(params.read_text().replace("\n  times_rounding: ", "\n  tolerance: 0.001\n  times_rounding: "))
    del stages["stages"]["guard"], stages["stages"]["race"]
    (project / "dvc.yaml").write_text(yaml.safe_dump(stages))
    lines = run(project).splitlines()
    assert lines[1:4] == [
        "kept as they are, since they exist: params.yaml, dvc.yaml",
        "in params.yaml, export.tolerance is a key of an earlier version, replaced by export.times_rounding; remove it",
        "dvc.yaml lacks stages.race, stages.guard: it is your own, or an earlier version's; for this version's, move it away and "
        "run `medtransfer init` again",
    ]
    params.write_text("{")
    (project / "dvc.yaml").write_text("- a\n")
    text = run(project)
    assert "params.yaml lacks" not in text and "dvc.yaml lacks stages." in text


def test_a_folder_inside_a_dvc_repository_is_part_of_it(project: Path) -> None:
    run(project / "below")
    assert set(listing(project / "below")) == FILES - {".dvc/config", ".dvc/.gitignore"}


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"expected a folder at {tmp_path / 'file'} in which files can be written"):
        run(tmp_path / "file")


def test_mlflow_uses_the_running_environment(tmp_path: Path) -> None:
    import sys

    assert f"`mlflow run .` uses {sys.prefix}\n" in run(tmp_path)
