"""The public names: what `import medtransfer` offers, in any order of imports, and a page that describes each."""

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import medtransfer
from medtransfer import PUBLIC, __version__
from medtransfer.errors import InputError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_a_function_or_class_with_a_docstring(name: str) -> None:
    value = getattr(medtransfer, name)
    assert value.__module__ == PUBLIC[name] and value.__name__ == name and name in dir(medtransfer)
    documented = value.__init__ if inspect.isclass(value) else value
    parameters = [parameter for parameter in inspect.signature(documented).parameters if parameter != "self"]
    assert all(re.search(rf"^ +\**{parameter}: ", documented.__doc__, re.MULTILINE) for parameter in parameters)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'rnak'"):
        _ = medtransfer.rnak


@pytest.mark.parametrize("name", PUBLIC)
def test_a_subpackage_of_the_same_name_does_not_take_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = getattr(medtransfer, name)
    if importlib.util.find_spec(f"medtransfer.{name}") is not None:
        monkeypatch.delitem(sys.modules, f"medtransfer.{name}", raising=False)
        importlib.import_module(f"medtransfer.{name}")  # which sets the attribute of the package
    assert getattr(medtransfer, name) is function


def test_there_is_a_subpackage_of_a_public_name() -> None:
    assert importlib.util.find_spec("medtransfer.rank") is not None


def test_an_import_loads_nothing_heavy() -> None:
    code = "import sys, medtransfer; print(sorted({'torch', 'numpy', 'pydantic', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_page_describes_every_name_and_no_other() -> None:
    assert set(re.findall(r"^## `(\w+)`", PAGE, re.MULTILINE)) == set(PUBLIC)


def test_the_version_is_semantic_and_in_the_changelog() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert "Semantic Versioning" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", CODE)
def test_the_pages_code_compiles_and_calls_what_exists(code: str) -> None:
    compile(code, "api.md", "exec")
    assert set(re.findall(r"medtransfer\.(\w+)\(", code)) <= set(PUBLIC)


@pytest.mark.parametrize("setup", [code for code in CODE if "logging." in code])
def test_the_pages_lines_show_what_a_call_does(setup: str, tmp_path: Path) -> None:
    """A call begins with the params that count."""
    end = "\nmedtransfer.rank('scans', candidates='no_such_model')"
    for code, shown in ((setup, True), ("", False)):
        command = [sys.executable, "-c", f"import medtransfer\n{code}{end}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert ("there is no params.yaml in" in done.stderr) == shown and "InputError" in done.stderr


def test_two_ways_of_showing_lines_are_described() -> None:
    assert sum("logging." in code for code in CODE) == 2


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: medtransfer.rank(np.zeros((3, 8, 8))), "images, but got a value of type ndarray"),
        (lambda: medtransfer.rank("scans", ["drawn"]), "masks, but got a value of type list"),
        (lambda: medtransfer.rank("scans", candidates=[torch.nn.Identity()]), "candidates, but got a value of type Identity"),
        (lambda: medtransfer.race(5), "candidates, but got a value of type int"),
        (lambda: medtransfer.predict(np.zeros((8, 8)), "models/a"), "images, but got a value of type ndarray"),
        (lambda: medtransfer.predict("scans", "models/a", masks=np.zeros((8, 8))), "masks, but got a value of type ndarray"),
        (lambda: medtransfer.predict("scans", [None]), "model, but got a value of type NoneType"),
    ],
)
def test_what_is_no_path_is_refused(call: Callable[[], object], expected: str) -> None:
    with pytest.raises(InputError, match=f"expected a path as {expected}; name a file or folder"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: medtransfer.rank("scans", by="zzz"), "rank.by names the indicator 'zzz'"),
        (lambda: medtransfer.race(unknown=1), "race.unknown: is not a known key"),
        (lambda: medtransfer.predict("scans", "models/a", overlap=2), r"predict.overlap: must be less than 1 \(got 2\)"),
    ],
)
def test_a_wrong_setting_is_one_of_the_arguments(
    call: Callable[[], object], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^1 error in the arguments: {message}"):
        call()


def test_a_single_candidate_is_not_taken_by_its_letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    with pytest.raises(InputError, match="but got 'no_such_model', which is none of them"):
        medtransfer.rank("scans", candidates="no_such_model")


@pytest.mark.parametrize("masks", [None, ""])
def test_no_reference_masks_are_given_as_none_or_as_nothing(
    masks: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    with pytest.raises(InputError, match="models/a"):  # it comes as far as the model
        medtransfer.predict("scans", "models/a", masks=masks)
