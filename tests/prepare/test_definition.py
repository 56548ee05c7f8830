"""A folder by path on the command line: its name, its settings, and that later commands know it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.prepare.volume_layouts import write_folder

from medtransfer.cli import cli
from medtransfer.config import load_params
from medtransfer.errors import InputError
from medtransfer.records import PreparedTarget
from medtransfer.working_folder import REGISTERED

SIZE = ["--size", "[12, 10]"]


@pytest.fixture(autouse=True)
def project(workplace: Path) -> None:
    """A folder with the project's params.yaml."""
    shutil.copy(Path(__file__).parents[2] / "params.yaml", workplace)


def run(*words: str) -> None:
    cli.main(["prepare", *words], standalone_mode=False)


def targets() -> dict[str, dict]:
    return load_params([Path("params.yaml")], {}, REGISTERED).model_dump(mode="json")["prepare"]["targets"]


def test_a_folder_by_path_becomes_a_target() -> None:
    write_folder(Path("my data"), ".nii.gz", cases=5)
    before = targets()
    run("--reader", "nifti", "--root", "my data", *SIZE, "--options", "{scaling: dataset}")
    prepared = PreparedTarget.open(Path("data/prepared/my-data"))
    assert prepared.info.reader == "nifti" and prepared.info.settings["options"] == {"scaling": "dataset"}
    assert prepared.info.counts == {"train": 12, "test": 3}  # a fifth of the five cases of three slices
    assert targets() == before | {"my-data": {
        "reader": "nifti", "root": "my data", "size": [12, 10], "subset": False, "split": "auto", "validation": 0.0,
        "allow_duplicates": False, "options": {"scaling": "dataset"},
    }}  # fmt: skip
    run("--target", "my-data", "--size", "6,5")  # known by its name from now on
    assert PreparedTarget.open(prepared.folder).images.shape == (15, 6, 5, 1)
    assert targets()["my-data"]["size"] == [6, 5]
    run("--target", "my-data", "--force")
    assert targets()["my-data"]["size"] == [6, 5]


@pytest.mark.parametrize("words", [("--root", "mine"), ("--root", "elsewhere", "--target", "mine")])
def test_a_target_that_the_files_name_already_can_be_made(words: tuple[str, ...]) -> None:
    """As in a study of one's own, whose params.yaml says what is to be done with it, and with another one."""
    write_folder(Path(words[1]), ".nii.gz", cases=5)
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["study"]["targets"], values["finetune"]["target"] = ["other", "mine"], "mine"
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run("--reader", "nifti", *words, *SIZE)
    assert PreparedTarget.open(Path("data/prepared/mine")).info.reader == "nifti"
    with pytest.raises(InputError, match="1 error in .* names the target 'other', .*; to make it of a folder: .* --target other`"):
        targets()
    run("--reader", "nifti", "--root", words[1], "--target", "other", *SIZE)
    assert {"mine", "other"} <= set(targets())
    with pytest.raises(InputError, match="prepare.target names the target 'another' .did you mean other"):
        run("--target", "another")


def test_options_that_stay_from_the_last_time_are_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="medtransfer")
    write_folder(Path("mine"), ".nii.gz", cases=5)
    run("--reader", "nifti", "--root", "mine", *SIZE, "--options", "{axis: 2}")
    assert "stay those of" not in caplog.text
    Path("mine").rename("moved")
    run("--root", "moved", "--target", "mine", *SIZE)
    kept = "these settings are not on the command line and stay those of data/prepared/mine/target.yaml: reader 'nifti', options "
    assert f"prepare: mine: {kept}{{'axis': 2}}; name them, or take another --target" in caplog.text
    caplog.clear()
    run("--root", "moved", "--target", "mine", *SIZE, "--reader", "nifti", "--options", "{}")
    assert "stay those of" not in caplog.text


def test_numbers_that_are_keys_of_an_option_stay_numbers() -> None:
    for folder in ("images", "masks"):
        Path("mine", folder).mkdir(parents=True)
        for index in range(5):
            pixels = np.random.default_rng(index).integers(0, 256, (12, 10), dtype=np.uint8)
            Image.fromarray(pixels if folder == "images" else np.uint8(pixels > 99) * 255).save(f"mine/{folder}/{index}.png")
    run("--root", "mine", *SIZE, "--options", "{classes: [lesion], labels: {0: background, 255: lesion}}")
    run("--target", "mine")
    run("--target", "mine", "--size", "6,5")
    prepared = PreparedTarget.open(Path("data/prepared/mine"))
    assert prepared.images.shape[1:3] == (6, 5) and prepared.info.classes == ["lesion"] and set(np.unique(prepared.masks)) == {0, 1}


def test_a_file_of_parameters_comes_first() -> None:
    write_folder(Path("mine"), ".nii.gz", cases=5)
    run("--reader", "nifti", "--root", "mine", "--target", "ours", *SIZE)
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["prepare"]["targets"]["ours"] = targets()["ours"] | {"size": [32, 32]}
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert targets()["ours"]["size"] == [32, 32]
    run("--target", "ours", "--validation", "0.25")
    assert targets()["ours"]["validation"] == 0.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reader", "nifti"], "--target or --root beside --reader, but got neither"),
        (["--target", "unknown", "--reader", "nifti"], "--root beside --target unknown, which no file of parameters defines"),
        (["--root", "x/sample"], "but 'sample' is another target; add --target"),
        (["--root", "mine", "--target", "5"], "a name as --target, but got the value 5; quote it"),
        (["--root", "mine", "--target", "a.b"], "--target without dots, .* but got 'a.b'"),
        (["--root", "/"], "but it is the topmost folder; add --target"),
        (["--root", "mine", "--split", "half"], "prepare.targets.mine.split"),
        (["--root", "mine", "--reader", "mnist"], "the reader to be one of acdc, .*, but got 'mnist'"),
        (["--root", "nowhere"], "the folder nowhere, but it does not exist"),
    ],
)
def test_what_cannot_be_defined_is_refused(words: list[str], message: str) -> None:
    before = targets()
    with pytest.raises(InputError, match=message):
        run(*words)
    assert targets() == before
