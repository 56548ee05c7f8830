"""A file imports only floors below its own, MLflow has one home, and help is instant."""

import ast
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "medtransfer"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "torchvision", "timm", "mlflow", "pandas", "numpy", "albumentations", "cv2", "matplotlib", "sklearn", "scipy",
         "lightning_fabric", "optuna", "dvc")  # fmt: skip


def test_the_contracts_hold() -> None:
    """In a process of its own: import-linter switches off the loggers that other tests listen to."""
    code = "import sys, importlinter.cli as c; sys.exit(c.lint_imports(config_filename=sys.argv[1], no_cache=True))"
    command = [sys.executable, "-c", code, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stdout


def test_every_package_has_a_layer() -> None:
    """A room that the contract does not name could import anything."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {name.strip() for layer in layers for name in layer.replace("|", ":").split(":")}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert named == {f"medtransfer.{name}" for name in there - {"__init__"}}


@cache
def imports(path: Path) -> list[tuple[str, str]]:
    """Return the imports of a file as (module, name); the name is empty for `import module`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def test_only_tracking_knows_mlflow() -> None:
    guests = {path for path in FILES if any(module.split(".")[0] == "mlflow" for module, _ in imports(path))}
    assert {path.parent for path in guests} == {PACKAGE / "tracking"}


def test_one_file_imports_lightning_fabric() -> None:
    guests = {path for path in FILES if any(module.split(".")[0] == "lightning_fabric" for module, _ in imports(path))}
    assert guests == {PACKAGE / "training/fabric.py"}


def test_training_does_not_load_torchmetrics() -> None:
    """Lightning Fabric would, where it is installed, and with it transformers: two seconds of every command."""
    code = "import sys, medtransfer.finetune.trainer; sys.exit(' '.join({'torchmetrics', 'transformers'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")})
    assert (done.returncode, done.stderr) == (0, "") and find_spec("torchmetrics")


@cache
def defined(path: Path) -> set[str]:
    """Return the names that a file defines or imports at any level."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_what_is_imported_from_the_package_exists() -> None:
    """An import inside a function would otherwise fail only when a user reaches it."""
    for path in FILES:
        for module, name in imports(path):
            if module.split(".")[0] != "medtransfer":
                continue
            home = ROOT / "src" / module.replace(".", "/")
            file = home.with_suffix(".py") if home.with_suffix(".py").is_file() else home / "__init__.py"
            assert file.is_file(), f"{path}: {module}"
            submodule = (home / f"{name}.py").is_file() or (home / name / "__init__.py").is_file()
            assert not name or submodule or name in defined(file), f"{path}: {module}.{name}"


def test_every_file_begins_with_a_sentence() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""') and text.splitlines()[0].rstrip('"').endswith("."), path


def test_help_and_params_load_nothing_heavy() -> None:
    code = f"""
import sys
from medtransfer.cli import cli
for arguments in [["--help"], *([name, "--help"] for name in cli.commands)]:
    cli.main(arguments, prog_name="medtransfer", standalone_mode=False)
import medtransfer.study
sys.exit(", ".join(sorted(set({HEAVY!r}) & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: medtransfer report" in done.stdout
