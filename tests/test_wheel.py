"""The built wheel is a tool: installed into an environment of its own, it works in an empty folder, without the source tree."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGED = {  # file in the wheel, and what it holds
    "config/params.yaml": "params.yaml", "init/files/dvc": "dvc.yaml", "init/files/MLproject": "MLproject",
    "init/files/conda": "conda.yaml", "init/files/python_env": "python_env.yaml", "init/files/gitignore": ".gitignore",
    "init/files/dvc_config": ".dvc/config", "init/files/dvc_gitignore": ".dvc/.gitignore",
    "init/files/README": "src/medtransfer/init/files/README", "init/files/weights": "weights/README.md",
    "papers/hidy2024/printed.csv": "src/medtransfer/papers/hidy2024/printed.csv",
    "report/templates/page.html.j2": "src/medtransfer/report/templates/page.html.j2",
    **{f"config/presets/{path.name}": f"configs/{path.name}" for path in (ROOT / "configs").iterdir()},
    **{f"config/studies/{path.name}": f"studies/{path.name}" for path in (ROOT / "studies").iterdir()},
}  # fmt: skip
Command = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, since a build leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = ("pyproject.toml", "requirements.txt", "README.md", *(name for name in PACKAGED.values() if "src/" not in name))
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(source)], check=True)
    (built,) = out.glob("medtransfer-*.whl")
    return built


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return a function that runs a command in a folder with the environment's programs first on the path."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # the libraries, without their own .pth files
    python = str(environment / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", "--target", str(packages), str(wheel)], check=True)
    shutil.copy(packages / "bin/medtransfer", environment / "bin")
    variables = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MLFLOW_TRACKING_URI"}}
    variables |= {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "MLFLOW_ENV_ROOT": str(tmp_path_factory.mktemp("linked")),
        "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def command(folder: Path, *words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return command


@pytest.mark.slow
def test_the_wheel_holds_defaults_templates_and_tables(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {name: archive.read(f"medtransfer/{name}") for name in PACKAGED} == {
            name: (ROOT / own).read_bytes() for name, own in PACKAGED.items()
        }
        held = {name.removeprefix("medtransfer/") for name in archive.namelist()}
    package = ROOT / "src/medtransfer"
    own = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert own <= held


@pytest.mark.slow
def test_commands_work_in_an_empty_folder(run: Command, tmp_path: Path) -> None:
    where = run(tmp_path, "python", "-c", "import medtransfer.indicators.robustness.of_views as m; print(m.__file__)")
    assert str(ROOT) not in where and "site-packages" in where
    said = run(tmp_path, "medtransfer", "samples", "--patients", "4", "--lungs", "5", "--retinas", "3", "--pictures", "6")
    assert f"there is no params.yaml in {tmp_path}: what is not set has the packaged default" in said
    run(tmp_path, "medtransfer", "prepare", "--params", "strong")
    assert (tmp_path / "data/prepared/sample/preview.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["data"]


@pytest.mark.slow
def test_mlflow_and_dvc_run_a_project_that_init_wrote(run: Command, tmp_path: Path) -> None:
    run(tmp_path, "medtransfer", "init", "mine")
    project = tmp_path / "mine"
    small = (project / "params.yaml").read_text().replace("patients: 16", "patients: 4").replace("pictures: 60", "pictures: 6")
    (project / "params.yaml").write_text(small)
    run(project, "python", "-m", "mlflow", "run", ".", "-e", "samples", "-P", "lungs=5")
    assert len(list((project / "data/samples/heart").rglob("*_gt.nii.gz"))) == 8
    shutil.rmtree(project / "data")
    assert "Running stage 'samples'" in run(project, "python", "-m", "dvc", "repro", "samples")
    assert len(list((project / "data/samples/heart").rglob("*_gt.nii.gz"))) == 8
