"""The plan of a study: its numbers against hand-computed ones; it writes nothing, and loads no library that trains."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import optimize, stats

from medtransfer import tracking
from medtransfer.config.study_files import study_names
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.hashing import digest
from medtransfer.prepare.readers import READERS
from medtransfer.studies.inputs import MISSING, PREPARED, SOURCE, all_series, layout_of, list_inputs
from medtransfer.studies.listing import list_studies
from medtransfer.studies.plan import plan
from medtransfer.studies.spread import pooled, visible_gaps
from medtransfer.working_folder import load_study

pytestmark = pytest.mark.long

TARGET = {
    "reader": "folder", "root": "nowhere", "size": [32, 32], "subset": False, "split": "official", "validation": 0.1,
    "allow_duplicates": False, "options": {"masks": "labels"},
}  # fmt: skip
STUDY: dict[str, Any] = {
    "about": {"what": "Does it help?", "images": {"a": 100, "pics": 130}, "parameters": {"unet": 1_000_000},
              "models": {"unet": 2_000_000}},
    "study": {"targets": ["a"], "origins": ["simple", "advanced"], "modes": ["full"], "epochs": "last", "random": "once",
              "sizes": [None, 20], "seeds": [1, 2, 3]},
    "prepare": {"target": "a", "targets": {"a": TARGET}},
    "pretrain": {"source": "pics", "source_root": "pics", "epochs": 10, "checkpoints": [1, 2, 5]},
    "finetune": {"train_epochs": 5, "batch_size": 8, "target": "a"},
    "score": {"target": "a"},
}  # fmt: skip


def write(**changed: dict[str, Any]) -> str:
    body = {name: {**STUDY.get(name, {}), **changed.get(name, {})} for name in {**STUDY, **changed}}
    Path("mine.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(body))))  # without aliases
    return "mine.yaml"


def rows(text: str, table: int) -> list[dict[str, str]]:
    """Return the rows of a Markdown table of a text."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    header, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in blocks[table])
    return [dict(zip(header, row, strict=True)) for row in body]


@pytest.fixture
def here(workplace: Path) -> Path:
    return workplace


def test_the_work_is_counted(here: Path) -> None:
    """90 images without the tenth that validates: 12 steps of 8 an epoch; 20 are 3. Three starts, three seeds, five epochs."""
    text = plan(load_study(write()), seconds_per_step=0.8)
    whole, few = rows(text, 0)
    counts = ("initialisations", "n", "cells", "finished", "trained on", "steps", "images")
    assert [whole[name] for name in counts] == ["3", "3", "9", "0", "90", "540", "4,050"]
    assert [few[name] for name in ("size", *counts)] == ["20", "3", "3", "9", "0", "20", "135", "900"]
    assert "18 fine-tunings, of which 0 are finished and reused: 675 steps and 4,950 images in all." in text
    assert "2 pretrainings beside them: 80 steps and 2,560 images." in text  # 130 // 32 steps, ten epochs
    assert "take 0.138 hours, one after the other, by 0.8 s per step." in text  # 4,950 images of .1 s
    assert "Disk: 40 MB of checkpoints, 144 MB of models." in text  # 2 x 5 of 4 MB, 18 of 8 MB


@pytest.mark.parametrize(
    ("changed", "images", "steps", "pictures"),
    [
        ({"study": {"folds": 5, "sizes": [None]}}, "80", 45 * 50, 45 * 400),  # 4/5 of all 100, in 10 steps
        ({"finetune": {"epoch_steps": 4}, "study": {"sizes": [None]}}, "90", 9 * 20, 9 * 160),
        ({"study": {"sizes": [0.5]}}, "45", 9 * 30, 9 * 225),
        ({"about": {"images": {"a": {"train": 17, "validation": 9}}}, "study": {"sizes": [None]}}, "17", 9 * 15, 9 * 85),
    ],
)
def test_portions_of_the_images_are_counted(changed: dict, images: str, steps: int, pictures: int, here: Path) -> None:
    (row,) = rows(plan(load_study(write(**changed))), 0)
    assert [row[name] for name in ("trained on", "steps", "images")] == [images, f"{steps:,}", f"{pictures:,}"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "0 of a target that has validation images, but got 0.1 .a.; set it to 0"),
        ({"study": {"folds": 3}}, "0 beside folds, whose groups are the validation samples, but got 0.1; set it to 0"),
    ],
)
def test_what_a_fine_tuning_would_refuse_is_refused(changed: dict, said: str, here: Path) -> None:
    with pytest.raises(InputError, match=said):
        plan(load_study(write(finetune={"validation": 0.1}, **changed)))
    with pytest.raises(InputError, match="expected finetune.size to be from 1 to the 90 training images that are left, but got 91"):
        plan(load_study(write(study={"sizes": [91]})))


def test_what_no_model_can_be_trained_by_is_refused_or_warned_of(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="expected finetune.loss to be one of dice, .* but got 'dicee' .did you mean dice"):
        plan(load_study(write(finetune={"loss": "dicee"})))
    with pytest.raises(InputError, match="pretrain.encoders.unet"):
        plan(load_study(write(pretrain={**STUDY["pretrain"], "encoders": {"unet": {"build": "unet", "widht": 8}}})))
    fine = {"study": {"seeds": [1]}, "report": {"out": "fine"}}
    other = {"study": {"seeds": [2]}, "finetune": {"loss": "dicee"}}
    Path("mine.yaml").write_text(yaml.safe_dump({**json.loads(json.dumps(STUDY)), "parts": [{"fine": fine, "other": other}]}))
    assert "mine.yaml: Does it help?" in plan(load_study("mine.yaml"))
    (warned,) = caplog.messages
    assert warned.startswith("study: mine.yaml/other would be refused: expected finetune.loss to be one of dice")


def test_the_plans_of_all_studies_can_be_made(here: Path) -> None:
    for name in study_names():
        assert f"{name}: " in plan(load_study(name))


def test_a_frozen_encoder_is_not_stored_with_each_model_and_metrics_alone_take_no_disk(here: Path) -> None:
    assert "72 MB of models" in plan(load_study(write(study={"modes": ["decoder"]})))
    assert "no models are kept (finetune.keep)" in plan(load_study(write(finetune={"keep": "metrics"})))


def test_what_is_missing_is_named_with_its_place_and_layout(here: Path) -> None:
    published = {"kind": "catalogue", "id": "moco-v2", "folder": "weights", "epoch": None, "pickle": True}
    kermany = {**TARGET, "reader": "kermany", "root": "data/raw/chest_xray", "options": {}}
    text = plan(load_study(write(
        pretrain={"origins": {"moco-v2": published}}, prepare={"targets": {"a": TARGET, "b": kermany}},
        study={"targets": ["a", "b"], "origins": ["simple", "moco-v2"]},
    )))  # fmt: skip
    assert "Data: 4 missing. Missing" in text
    assert "- target a: put the dataset of the reader folder into nowhere, as its authors publish it\n    masks: labels\n" in text
    assert "reader kermany into data/raw/chest_xray, as" in text and "    chest_xray/train/PNEUMONIA/person1_bacteria_1" in text
    assert "- source pics: put the source images into pics: train/<class>/*.jpg and val/<class>/*.jpg" in text
    assert "- weights moco-v2: put the file into weights/moco-v2.pth (or .safetensors); published: https://dl.fbai" in text
    for folder in ("nowhere", "data/raw/chest_xray", "pics/train"):
        (here / folder).mkdir(parents=True)
        (here / folder / "file").touch()
    assert "Data: 3 here, 1 missing." in plan(load_study("mine.yaml"))


def test_source_images_of_finished_pretrainings_are_not_missing(here: Path) -> None:
    chosen = load_study(write())
    states = [one.state for one in list_inputs(chosen) if one.kind == SOURCE]
    assert set(states) == {MISSING}
    for encoder, origin in all_series(chosen.parts[0].params):
        folder = Path("checkpoints") / f"{encoder}-{origin}"
        folder.mkdir(parents=True)
        (folder / "pretraining.json").touch()
    assert [one.state for one in list_inputs(chosen) if one.kind == SOURCE] == [PREPARED] * len(states)


@pytest.mark.parametrize("reader", sorted(READERS))
def test_every_reader_says_how_its_data_are_laid_out(reader: str) -> None:
    lines = layout_of(reader).splitlines()
    assert lines[0].startswith("    Source: ") and len(lines) > 1 and all(line.startswith("    ") for line in lines)


def store(seconds: float, **values: dict[int, float]) -> None:
    """Write finished fine-tunings of the study: value by seed, of an origin and epoch such as simple_10."""
    params = load_study("mine.yaml").parts[0].params
    for name, by_seed in values.items():
        origin, _, epoch = name.partition("_")
        for seed, value in by_seed.items():
            fields = {
                "source": "pics", "origin": origin, "encoder": "unet", "target": "a", "mode": "full", "pretraining": "p",
                "data": "d", "protocol": Protocol.of(params.finetune).key, "epoch": epoch, "seed": seed, "primary": "dice",
            }  # fmt: skip
            record = tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value}, {}, {"seconds": f"{seconds}"})
            tracking.write_runs("finetune", [record], "runs")


def test_finished_cells_are_counted_and_give_time_and_spread(here: Path) -> None:
    """45 s for 450 images; deviations .02 and 0 of three values each pool to .02 / sqrt(2)."""
    write()
    store(45.0, simple_10={1: 0.70, 2: 0.72, 3: 0.74}, simple_0={1: 0.5, 2: 0.5, 3: 0.5}, advanced_10={1: 0.6, 9: 0.7})
    text = plan(load_study("mine.yaml"))
    whole, few = rows(text, 0)
    assert (whole["finished"], few["finished"]) == ("7", "0")  # seed 9 is not of the study
    assert (whole["hours left"], few["hours left"]) == ("0.025", "0.025")  # 2 x 450 and 9 x 100 images of .1 s
    assert "take 0.05 hours, one after the other, by the finished cells." in text
    shown, unknown = rows(text, 1)
    assert (shown["spread"], shown["known from"]) == ("0.0141", "2 of 3 initialisations here")
    assert unknown["known from"] == "nothing: give --sd"
    write(finetune={"lr": 0.9})
    assert rows(plan(load_study("mine.yaml")), 0)[0]["finished"] == "0"  # another recipe


def test_what_a_number_of_seeds_sees_is_that_of_tables(here: Path) -> None:
    """Cohen, A power primer, 1992, table 2: 17 in each group see a difference of one deviation; with 16 more is needed."""
    text = plan(load_study(write(study={"seeds": list(range(17)), "sizes": [None]})), deviation=0.01)
    (row,) = rows(text, 1)
    assert row["n"] == "17" and 0.0098 <= float(row["gap seen"]) <= 0.01
    assert float(row["among all"]) == pytest.approx(_brute_force_gap(17, 0.025), abs=5e-5)  # two comparisons
    assert visible_gaps(0.01, 16, 1, 0.95)[0] > 0.01  # type: ignore[index]
    assert visible_gaps(0.01, 1, 1, 0.95) is None


def _brute_force_gap(number: int, level: float) -> float:
    """Return the difference, at a deviation of .01, that the power of the two-sided test reaches .8 at."""
    degrees, critical = 2 * number - 2, stats.t.isf(level / 2, 2 * number - 2)

    def lacking(gap: float) -> float:
        return float(stats.nct.sf(critical, degrees, gap / (0.01 * (2 / number) ** 0.5)) - 0.8)

    return float(optimize.brentq(lacking, 0.001, 0.1))


def test_deviations_are_pooled_by_their_degrees_of_freedom() -> None:
    assert pooled([(0.3, 2), (0.1, 4)]) == pytest.approx(((0.09 + 3 * 0.01) / 4) ** 0.5)


def test_the_spread_is_that_of_the_printed_tables(here: Path) -> None:
    """Table 3 of Truong et al., PatchCam of 500 images, full: random, supervised, swav, simclr, dino."""
    text = plan(load_study("truong/patchcam-resnet50"))
    (row,) = [row for row in rows(text, 1) if (row["mode"], row["size"]) == ("full", "500")]
    table = [line.split(",") for line in (Path(__file__).parents[2] / "src/medtransfer/papers/printed/data/truong-table3.csv")
             .read_text().splitlines()]  # fmt: skip
    stds = [float(line[4]) for line in table if line[1] != "PatchCam/dino" and line[1].startswith("PatchCam/") and line[2] == "S"]
    assert len(stds) == 4 and row["spread"] == f"{(sum(std**2 for std in stds) / 4) ** 0.5:.4f}"
    assert row["known from"] == "the printed tables"


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_plan_writes_nothing_and_loads_no_library_that_trains(here: Path) -> None:
    write()
    store(45.0, simple_10={1: 0.70, 2: 0.72})
    before = tree(here)
    code = (
        "import sys; from medtransfer.cli import cli\n"
        "for words in (['mine.yaml', '--plan'], ['hidy', '--plan'], ['--list']):\n"
        "    cli.main(['study', *words], standalone_mode=False)\n"
        "assert not {'torch', 'mlflow', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of which 2 are finished" in done.stdout and tree(here) == before


def test_the_list_says_what_is_here(here: Path) -> None:
    listed = {row["name"]: row for row in rows(list_studies(load_study), 0)}
    assert (listed["hidy"]["cells"], listed["hidy"]["data"]) == ("1800", "4 of 4 missing")
    assert (listed["hidy-small"]["cells"], listed["hidy-small"]["data"]) == ("64", "here or made")
