"""The params that count in a folder: the packaged defaults, a params.yaml that is partial or whole, and errors that name it."""

import logging
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import yaml

from medtransfer import working_folder
from medtransfer.config import default_params
from medtransfer.errors import InputError
from medtransfer.working_folder import default_values, load, path_text, path_texts

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    working_folder._say_defaults.cache_clear()
    return tmp_path


def test_an_empty_folder_has_the_defaults_and_says_so_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "medtransfer"):
        assert [load(), load()] == [default_params()] * 2
    assert caplog.messages == [f"there is no params.yaml in {folder}: what is not set has the packaged default"]
    assert load(overrides={"finetune.lr": 0.5}).finetune.lr == 0.5


def test_a_partial_file_changes_what_it_names(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = {"reader": "folder", "root": "mine", "size": [8, 8], "subset": False, "split": "none", "validation": 0.0,
              "allow_duplicates": False, "options": {}}  # fmt: skip
    own = {"finetune": {"lr": 0.5}, "study": {"targets": ["mine"]}, "prepare": {"targets": {"mine": target}}}
    Path("params.yaml").write_text(yaml.safe_dump(own))
    params, defaults = load(), default_params()
    assert params.finetune == defaults.finetune.model_copy(update={"lr": 0.5})
    assert params.study == defaults.study.model_copy(update={"targets": ["mine"]})
    assert set(params.prepare.targets) == {*defaults.prepare.targets, "mine"} and params.report == defaults.report
    assert not caplog.messages


def test_options_and_further_files_override_the_folders_file(folder: Path) -> None:
    Path("params.yaml").write_text("finetune: {lr: 1, power: 1, momentum: 0.1}")
    Path("more.yaml").write_text("finetune: {lr: 2, power: 2}")
    section = load([Path("more.yaml")], {"finetune.lr": 3}).finetune
    assert (section.lr, section.power, section.momentum) == (3, 2, 0.1)


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "configs").iterdir()])
def test_a_preset_is_named_in_any_folder(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALDATA", "/images")
    file = ROOT / "configs" / f"{name}.yaml"
    assert load([Path(name)]) == load([file]) != load()
    Path(name).write_text("finetune: {lr: 9}")
    assert load([Path(name)]).finetune.lr == 9  # a file of the folder comes first
    with pytest.raises(InputError, match=rf"does not exist; .* of the packaged presets: .*paper, .*strong \(did you mean {name}\b"):
        load([Path(f"configs/{name}.yaml")])


OWN = {
    "pretrain.encoders.resnet50": {"build": "resnet50"},
    "pretrain.origins.advanced": {"kind": "file", "weights": "w.pt", "epoch": 1, "source": "s", "pickle": False,
                                  "allow_partial": False, "prefix": None, "input": None},
    "prepare.targets.sample": {"reader": "folder", "root": "x", "size": [8, 8], "subset": False, "split": "none",
                               "validation": 0.5, "allow_duplicates": False, "options": {}},
}  # fmt: skip


@pytest.mark.parametrize("key", OWN)
@pytest.mark.parametrize("further", [False, True], ids=["params.yaml", "--params"])
def test_an_entry_that_says_what_it_is_takes_nothing_from_a_packaged_one(key: str, further: bool, folder: Path) -> None:
    section, kind, name = key.split(".")
    path = Path("more.yaml" if further else "params.yaml")
    path.write_text(yaml.safe_dump({section: {kind: {name: OWN[key]}}}))
    entries = getattr(getattr(load([path] if further else []), section), kind)
    assert entries[name].model_dump(mode="json", exclude_unset=True) == OWN[key]
    assert {other: entry for other, entry in entries.items() if other != name} == {
        other: entry for other, entry in getattr(getattr(default_params(), section), kind).items() if other != name
    }


def test_an_entry_that_leaves_out_what_it_is_changes_a_packaged_one(folder: Path) -> None:
    Path("params.yaml").write_text("pretrain: {encoders: {resnet50: {stochastic_depth: 0.3}}, origins: {simple: {warmup: 4}}}")
    pretrain, packaged = load().pretrain, default_params().pretrain
    assert pretrain.encoders["resnet50"].arguments == {**packaged.encoders["resnet50"].arguments, "stochastic_depth": 0.3}
    assert pretrain.origins["simple"] == packaged.origins["simple"].model_copy(update={"warmup": 4})
    assert load(overrides={"pretrain.encoders.resnet50.build": "unet"}).pretrain.encoders["resnet50"].arguments.keys() == {
        "layers", "channels", "stochastic_depth"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prepare: {targets: {sample: {reader: folder}}}", r"7 errors in params\.yaml: prepare\.targets\.sample\.size: is missing"),
        ("finetune: {lrr: 1}", r"1 error in params\.yaml: finetune\.lrr: is not a known key \(did you mean lr\?\)"),
        ("finetune: {lr: fast}", r"1 error in params\.yaml: finetune\.lr: .* \(got 'fast'\)"),
        ("prepare: {targets: {mine: {root: x}}}", r"errors in params\.yaml: prepare\.targets\.mine\.reader: is missing"),
        ("pretrain: {epochs: 3}", r"1 error in params\.yaml: pretrain: checkpoints \[5, 10\] come after the last of 3 epochs"),
        ("study: {targets: [nowhere]}", r"1 error in params\.yaml: study\.targets names the target 'nowhere'"),
        ("", r"expected sections such as `finetune:` in params\.yaml, but got nothing; write one, or remove the file"),
        ("finetune: [", r"expected YAML in params\.yaml"),
    ],
)
def test_errors_name_the_folders_file_and_the_key(text: str, message: str, folder: Path) -> None:
    Path("params.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load()


def test_a_params_yaml_that_leads_nowhere_is_refused(folder: Path) -> None:
    Path("params.yaml").symlink_to("gone.yaml")
    with pytest.raises(InputError, match=rf"expected the parameter file {folder / 'params.yaml'}, but it does not exist"):
        load()


def test_in_a_clone_its_own_file_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that errors name params.yaml, and a key that is deleted there is missing."""
    monkeypatch.chdir(ROOT)
    assert working_folder._parameter_files() == [Path("params.yaml")]


def test_values_for_help_survive_a_broken_file(folder: Path) -> None:
    Path("params.yaml").write_text("finetune: [")
    assert default_values() == yaml.safe_load((ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text("finetune: {lr: 9}")
    assert (default_values()["finetune"]["lr"], default_values()["finetune"]["power"]) == (9, 0.9)


def test_a_worker_that_imports_an_unguarded_script_refuses_to_begin_again(folder: Path) -> None:
    """A real process of Python's fork server, which imports the script before it is given work."""
    Path("script.py").write_text(
        "import multiprocessing\n"
        "from medtransfer.working_folder import load\n"
        "load()\n"
        "process = multiprocessing.get_context('forkserver').Process(target=print)\n"
        "process.start()\n"
        "process.join()\n"
        "raise SystemExit(process.exitcode)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and 'expected this call below `if __name__ == "__main__":`' in done.stderr, done.stderr


@pytest.mark.parametrize("path", ["a/scan.png", Path("a/scan.png"), PurePosixPath("a/scan.png")])
def test_any_kind_of_path_is_taken_as_text(path: object) -> None:
    assert path_text(path, "images") == "a/scan.png"
    assert path_texts([path], "images") == path_texts(path, "images") == ["a/scan.png"]  # type: ignore[arg-type]
