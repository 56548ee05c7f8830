"""The files around the package agree with it and with each other: environments, MLproject, params, DVC stages, pages."""

import ast
import dataclasses
import functools
import importlib.metadata
import importlib.util
import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from medtransfer.cli import cli
from medtransfer.config import Params
from medtransfer.indicators.contract import ViewSettings
from medtransfer.indicators.robustness.setting import RobustnessSetting

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
ROOMS = {"samples": "prepare/samples"}  # where a stage's room is not named like it
# Code that says, shows, checks or files numbers and makes none: a change of it is no reason to compute again.
NO_NUMBERS = {
    "__init__.py",
    "errors.py",
    "progress.py",
    "progress_bar.py",
    "locks.py",
    "environment.py",
    "launchers.py",
    "signals.py",
    "forks.py",
    "registry.py",
}
NO_NUMBERS |= {"wording.py"}
NO_NUMBERS |= {
    str(path.relative_to(SRC / "medtransfer"))
    for room in ("config", "tracking")
    for path in (SRC / "medtransfer" / room).rglob("*.py")
}
# Keys that choose or place a result, or how fast it comes, but do not change it; `encoders` and `origins` go in by entry.
NO_EFFECT = {
    "out", "target", "targets", "encoder", "encoders", "origin", "origins", "workers", "accelerator", "source_root",
    "epoch", "mode", "weights",
}  # fmt: skip
# Both poolings are scored; the study's seeds, sizes and folds count.
NO_EFFECT_IN = {"score": {"batch_size", "pooling"}, "finetune": {"seed", "size", "fold", "folds"}}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def requirements() -> list[str]:
    return (ROOT / "requirements.txt").read_text(encoding="utf-8").split()


def test_every_environment_installs_the_same_packages() -> None:
    conda = read_yaml("conda.yaml")["dependencies"]
    assert next(entry["pip"] for entry in conda if isinstance(entry, dict)) == requirements()
    assert read_yaml("python_env.yaml")["dependencies"] == ["-r requirements.txt"]
    assert "python" not in read_yaml("python_env.yaml")  # any named version would be installed by pyenv
    assert read_yaml("MLproject")["python_env"] == "python_env.yaml" and "conda_env" not in read_yaml("MLproject")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "dependencies" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert f"python{project['project']['requires-python']}" in conda


def test_the_pages_name_the_versions_of_python_that_the_package_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    *first, last = (name.rpartition(" ")[2] for name in project["classifiers"])
    assert project["requires-python"] == f">={first[0]}" and sys.version_info >= tuple(map(int, first[0].split(".")))
    for page in ("README.md", "docs/getting-started.md"):
        assert f"You need Python {', '.join(first)} or {last}, make and git." in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("line", requirements())
def test_what_is_required_is_bounded_and_installed(line: str) -> None:
    requirement = Requirement(line)
    assert {clause.operator for clause in requirement.specifier} == {">=", "<"}
    assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)


def test_everything_that_is_imported_is_required() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SRC.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"medtransfer"}
    homes = importlib.metadata.packages_distributions()
    required = {Requirement(line).name for line in requirements()}
    unmet = {name for name in foreign if not required & {home.lower().replace("_", "-") for home in homes.get(name, [])}}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked_for = (extra for name in ("dicom-seg", "hdf5", "ray", "lightning", "transformers", "onnx") for extra in extras[name])
    assert unmet == {Requirement(line).name for line in asked_for}  # imported only there


def test_entry_points_of_mlproject_are_the_commands() -> None:
    doors = {name: entry["command"] for name, entry in read_yaml("MLproject")["entry_points"].items()}
    prefix = "PYTHONPATH=src python -m medtransfer"
    assert doors.pop("main") == f"{prefix} demo"
    assert doors.pop("evidence") == f"{prefix} evidence export"  # files to import are arguments, which MLproject has none of
    assert doors == {
        name: f"{prefix} {name}" for name in cli.commands if name not in {"demo", "evidence", "init", "catalogue", "pack"}
    }


def test_every_section_of_the_params_has_a_command() -> None:
    sections = set(read_yaml("params.yaml"))
    assert sections == set(Params.model_fields)
    assert sections == set(cli.commands) - {"demo", "indicators", "init", "catalogue", "pack"}


@pytest.mark.parametrize("command", ["samples", "prepare", "pretrain", "score", "finetune", "report"])
def test_every_plain_key_of_a_section_is_an_option(command: str) -> None:
    options = {parameter.name for parameter in cli.commands[command].params}
    keys = set(Params.model_fields[command].annotation.by_key())  # type: ignore[union-attr]
    assert keys - options == {"prepare": {"new", "targets"}, "pretrain": {"encoders", "origins"}}.get(command, set())


@pytest.fixture(scope="module")
def dvc_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let DVC resolve dvc.yaml and give its stages by address."""
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("dvc")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        return {stage.addressing: stage for stage in Repo.init(str(folder), no_scm=True).index.stages}


def code(stage: Any) -> set[Path]:
    """Return the code files that a stage of DVC lists."""
    listed = [ROOT / dep.def_path for dep in stage.deps if dep.def_path.startswith("src/")]
    return {file for path in listed for file in (path.rglob("*.py") if path.is_dir() else [path])}


def params_of(stage: Any) -> list[str]:
    return [name for dep in stage.deps if type(dep).__name__ == "ParamsDependency" for name in dep.params]


def test_dvc_knows_every_stage(dvc_stages: dict[str, Any]) -> None:
    walkers = {"demo", "grid", "study"}  # they walk the stages
    no_stage = walkers | {"cka", "predict", "export", "replay", "evidence", "indicators", "init", "catalogue", "pack", "ui"}
    assert {name.split("@")[0] for name in dvc_stages} == set(cli.commands) - no_stage
    targets = set(read_yaml("params.yaml")["prepare"]["targets"])
    assert {name.split("@")[1] for name in dvc_stages if name.startswith("prepare@")} == targets


def test_commands_and_params_of_dvc_exist(dvc_stages: dict[str, Any]) -> None:
    values = read_yaml("params.yaml")
    for address, stage in dvc_stages.items():
        path, python, module, package, command, *options = shlex.split(stage.cmd)
        assert (path, python, module, package, command) == ("PYTHONPATH=src", "python", "-m", "medtransfer", address.split("@")[0])
        cli.commands[command].make_context(command, options)  # an unknown option raises
        for dotted in params_of(stage):
            functools.reduce(operator.getitem, dotted.split("."), values)  # an unknown key raises


def test_dvc_and_mlflow_run_the_code_of_the_folder(dvc_stages: dict[str, Any], tmp_path: Path) -> None:
    """A queued experiment is a copy of the project, whose code is not what the environment has installed."""
    package = tmp_path / "src/medtransfer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("print('the code of the folder')")
    commands = {stage.cmd for address, stage in dvc_stages.items() if "@" not in address}
    commands |= {entry["command"] for entry in read_yaml("MLproject")["entry_points"].values()}
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(SRC)}
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "the code of the folder\n", command


@pytest.mark.parametrize("section", ["samples", "pretrain", "score", "finetune", "report"])
def test_dvc_watches_every_key_that_changes_a_result(section: str, dvc_stages: dict[str, Any]) -> None:
    keys = set(read_yaml("params.yaml")[section])
    for address, stage in dvc_stages.items():
        if address.split("@")[0] == section:
            watched = params_of(stage)
            listed = {name.split(".")[1] for name in watched if name.startswith(f"{section}.")} if section not in watched else keys
            assert keys - listed - NO_EFFECT - NO_EFFECT_IN.get(section, set()) == set(), address


@pytest.mark.parametrize("stage", ["race", "guard"])
def test_dvc_watches_the_recipe_of_what_fine_tunes(stage: str, dvc_stages: dict[str, Any]) -> None:
    """It fine-tunes by the recipe of `finetune`, and sets what it evaluates, draws and keeps itself."""
    keys = {f"finetune.{key}" for key in read_yaml("params.yaml")["finetune"]}
    kept = {f"finetune.{key}" for key in (NO_EFFECT - {"mode"}) | {"evaluate", "overlays", "keep"}}
    assert keys - kept - set(params_of(dvc_stages[stage])) == set()


def test_dvc_watches_the_settings_of_the_scores_that_a_stage_uses(dvc_stages: dict[str, Any]) -> None:
    """An early stop measures at them; search, explain and report look up the scores that have them."""
    used = {f"score.{field.name}" for kind in (RobustnessSetting, ViewSettings) for field in dataclasses.fields(kind)}
    for address, stage in dvc_stages.items():
        if address.split("@")[0] in {"pretrain", "search", "explain", "report"}:
            assert used <= set(params_of(stage)), address


def test_dvc_watches_the_entries_of_each_pretraining_and_target(dvc_stages: dict[str, Any]) -> None:
    for address, stage in dvc_stages.items():
        name, _, item = address.partition("@")
        if name == "prepare":
            assert params_of(stage) == [f"prepare.targets.{item}"]
        if name == "pretrain":
            encoder, origin = item.split("-", 1)
            assert {f"pretrain.encoders.{encoder}", f"pretrain.origins.{origin}"} <= set(params_of(stage))


def test_dvc_watches_what_a_pretraining_may_start_from(dvc_stages: dict[str, Any]) -> None:
    """Weights files, the entries of origins that another one continues from, and targets that are sources."""
    values = read_yaml("params.yaml")
    folders = {values["pretrain"]["source_root"], values["pretrain"]["weights"], values["prepare"]["out"]}
    stages = {address: stage for address, stage in dvc_stages.items() if address.startswith("pretrain@")}
    assert stages and (ROOT / values["pretrain"]["weights"]).is_dir()
    for address, stage in stages.items():
        assert folders <= {dep.def_path for dep in stage.deps}, address
        assert {"pretrain.origins", "pretrain.from"} <= set(params_of(stage)), address


def test_dvc_watches_the_code_that_a_stage_imports(dvc_stages: dict[str, Any]) -> None:
    for address, stage in dvc_stages.items():
        name = address.split("@")[0]
        assert all((ROOT / dep.def_path).exists() for dep in stage.deps if dep.def_path.startswith("src/")), address
        rooms = [ROOMS.get(name, name), *(["indicators"] if name == "pretrain" else [])]  # an early stop measures
        imported = set[Path]().union(*(imports_below(SRC / "medtransfer" / room) for room in rooms))
        needed = {file for file in imported if _makes_numbers(file)}
        missing = needed - code(stage)
        assert not missing, f"dvc.yaml, {address}: {sorted(str(file.relative_to(ROOT)) for file in missing)} are not listed"


def _makes_numbers(file: Path) -> bool:
    within = file.relative_to(SRC / "medtransfer")
    return str(within) not in NO_NUMBERS and not (within.name == "__init__.py" and "import" not in file.read_text("utf-8"))


def imports_below(room: Path) -> set[Path]:
    """Return every file of the package that a room's files import, directly or not, and those files themselves."""
    seen: set[Path] = set()
    waiting = set(room.rglob("*.py"))
    assert waiting, room
    while waiting:
        file = waiting.pop()
        seen.add(file)
        packages = {parent / "__init__.py" for parent in file.parents if SRC in parent.parents and parent not in room.parents}
        waiting |= ({*imported_files(file), *packages}) - seen
    return seen


def imported_files(file: Path) -> Iterator[Path]:
    """Yield the files that a file imports, or whose addresses are in a registry of its own."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and re.fullmatch(r"medtransfer[\w.]+:\w+", str(node.value)):
            names = [str(node.value).split(":")[0]]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            base = SRC / name.replace(".", "/")
            yield from (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())


def test_the_walk_over_imports_finds_what_is_far() -> None:
    found = {str(file.relative_to(SRC / "medtransfer")) for file in imports_below(SRC / "medtransfer" / "score")}
    assert {
        "indicators/robustness/measure.py",
        "indicators/logme.py",
        "indicators/sampled.py",
        "data/views.py",
        "encoders/conv_blocks.py",
        "hashing.py",
        "errors.py",
    } <= found
    assert not any(name.startswith("finetune/") for name in found)


def tree_paths(page: str) -> list[str]:
    """Return every path of the first fenced block under a heading about the tree or where things are.

    A line is `name  what it is`, indented below its folder, with or without branches drawn; names beside each other are
    divided by one space, the remark follows after two.
    """
    section = re.search(r"^#+ .*(?:\btree\b|where things are).*$", page, re.IGNORECASE | re.MULTILINE)
    assert section, "CONTRIBUTING.md needs a heading with `tree` or `Where things are`"
    block = re.search(r"^```\w*\n(.*?)^```", page[section.end() :], re.DOTALL | re.MULTILINE)
    assert block, "CONTRIBUTING.md needs a fenced file tree under that heading"
    paths: list[str] = []
    above: list[tuple[int, str]] = []
    for line in filter(str.strip, block[1].splitlines()):
        bare = re.sub(r"[│├└─|`]", " ", line)
        depth = len(bare) - len(bare.lstrip())
        names = re.split(r"\s{2,}|\s#", bare.strip())[0].split()
        above = [(level, name) for level, name in above if level < depth]
        parent = above[-1][1] if above else ""
        paths += [f"{parent}{name}" for name in names]
        if names[-1].endswith("/"):
            above.append((depth, f"{parent}{names[-1]}"))
    return paths


def test_the_files_of_the_tree_exist() -> None:
    ignored = {line.strip("/*") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
    paths = tree_paths((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(paths) > 10
    made_by_running = {path for path in paths if path.split("/")[0] in ignored}
    assert [path for path in paths if path not in made_by_running and not (ROOT / path).exists()] == []


def test_make_without_a_target_lists_the_targets() -> None:
    output = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[1] for line in output.splitlines()}
    assert listed == {"help", "setup", "demo", "test", "test-all", "lint", "format", "gpu-check", "real", "ui", "clean"}


def test_a_moved_folder_gets_an_environment_of_its_own(tmp_path: Path) -> None:
    """The scripts of an environment hold its path, so they would run the code of the old place."""
    old, new = tmp_path / "my project", tmp_path / "étude"
    old.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "python_env.yaml"):
        shutil.copy(ROOT / name, old)
    python = tmp_path / "python"
    python.write_text('#!/bin/bash\nif [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; fi\n')
    python.chmod(0o755)

    def setup(folder: Path) -> bool:
        command = ["make", "--no-print-directory", "setup", f"PYTHON={python}"]
        environment = {**os.environ, "PATH": "/usr/bin:/bin"}  # without uv
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return "making the environment in .venv" in done.stdout

    assert [setup(old), setup(old)] == [True, False]
    (old / ".venv/bin/stale").touch()
    old.rename(new)
    assert [setup(new), setup(new)] == [True, False]
    assert [path.name for path in (new / ".venv/bin").iterdir()] == ["python"]


@pytest.mark.parametrize(
    ("script", "version"), [("exit 127", "not installed"), ("[ $1 = -c ] || echo Python 3.9.2; [ $1 != -c ]", "Python 3.9.2")]
)
def test_make_names_an_unsuitable_python_in_one_sentence(script: str, version: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements.txt", "python_env.yaml"):
        (tmp_path / name).touch()
    python = tmp_path / "python3.0"
    python.write_text(f"#!/bin/sh\necho pyenv: python3.0: command not found >&2\n{script}\n")
    python.chmod(0o755)
    command = ["make", "--no-print-directory", "setup", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == (
        f"expected Python 3.11 or newer, but {python} is {version}; name one that is: make PYTHON=<interpreter> setup\n"
    )
    assert "pyenv" not in done.stderr


@pytest.fixture
def link_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load tools/link_environment.py; MLflow's environments lie in the test's folder."""
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path))
    spec = importlib.util.spec_from_file_location("link_environment", ROOT / "tools" / "link_environment.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mlflow_finds_the_projects_own_environment(link_tool: ModuleType, tmp_path: Path) -> None:
    from mlflow.utils.environment import _PythonEnv
    from mlflow.utils.virtualenv import _get_mlflow_virtualenv_root, _get_virtualenv_name

    link_tool.main()
    link_tool.main()  # a second time changes nothing
    name = _get_virtualenv_name(_PythonEnv.from_yaml(str(ROOT / "python_env.yaml")), str(ROOT))
    place = Path(_get_mlflow_virtualenv_root()) / name
    assert tmp_path in place.parents
    assert place.resolve() == Path(sys.prefix).resolve() and list(place.parent.iterdir()) == [place]


def test_only_stale_links_are_replaced(link_tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    link_tool.main()
    (place,) = [path for path in Path(os.environ["MLFLOW_ENV_ROOT"]).rglob("*") if path.is_symlink()]
    place.unlink()
    place.symlink_to("/gone")
    link_tool.main()
    assert place.resolve() == Path(sys.prefix).resolve()
    place.unlink()
    place.mkdir()
    link_tool.main()
    assert not place.is_symlink() and "it is kept" in capsys.readouterr().out


def test_a_changed_mlflow_is_reported_with_a_workaround(
    link_tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mlflow.utils.virtualenv._get_virtualenv_name")
    with pytest.raises(SystemExit, match="use `mlflow run . --env-manager local`"):
        link_tool.main()
    assert list(tmp_path.iterdir()) == []
