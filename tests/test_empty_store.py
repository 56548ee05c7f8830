"""The report of a machine that pulled the stages' results, and has an empty store, is that of the machine that made them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer import study, tracking
from medtransfer.cli import cli
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.score import scorer

ROOT = Path(__file__).parents[1]
NARROW = "narrow.yaml"  # encoders that cannot be built
READING = {  # commands that need results of a store, and what they say without one
    "report": "expected finished fine-tunings in the tracking store sqlite:.*mlflow.db, but it holds none",
    "search": "expected finished fine-tunings in the tracking store sqlite:.*mlflow.db, but it holds none",
    "search --results replay": "expected a replay of the released results in the tracking store sqlite:.*mlflow.db",
    "explain": "expected finished fine-tunings in the tracking store sqlite:.*mlflow.db, but it holds none",
    "explain --results replay": "expected a replay of the released results in the tracking store sqlite:.*mlflow.db",
    "evidence export --out rows.csv": "expected finished fine-tunings in the tracking store sqlite:.*mlflow.db, but it holds none",
    "replay": "expected --downstream",
    "guard": "expected a checkpoint of epoch 0 in checkpoints/unet-simple",
    "race": "expected checkpoints or weights at checkpoints/unet-simple",
    "rank --candidates checkpoints/unet-simple": "expected checkpoints or weights at checkpoints/unet-simple",
    "cka --candidates checkpoints/unet-simple": "expected checkpoints or weights at checkpoints/unet-simple",
    "pretrain --stop-rule nowhere": "expected pretrain.stop_rule out of first-drop",
    "pretrain --size 60": "expected pretrain.size to be a multiple of 16 pixels for the encoder unet .*, but got 60; set it to 64",
    "pretrain --size 7 --origin advanced": "expected pretrain.size to be a multiple of 16 pixels .*, but got 7; set it to 16",
    f"pretrain --params {NARROW}": "cannot build the encoder unet: expected width to be 1 positive whole number",
    f"score --params {NARROW}": "cannot build the encoder unet: expected width to be 1 positive whole number",
    f"finetune --params {NARROW}": "cannot build the encoder unet: expected width to be 1 positive whole number",
    'score --settings {"logme":{"x":1}}': "score.settings.logme.x: is not a known key",
    f"grid --params {ROOT / 'configs/paper.yaml'}": "expected the images of the study, but 4 folders are missing",
}
TABLES = ("dice.csv", "tis.csv", "selectors.csv", "contrasts.csv", "metrics.json", "dice_by_epoch.png")


def tables() -> dict[str, bytes]:
    return {name: (Path("reports") / name).read_bytes() for name in TABLES}


@pytest.mark.parametrize("words", READING)
def test_a_refused_command_makes_no_store(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/mlflow.db")
    Path(NARROW).write_text("pretrain: {encoders: {unet: {width: 0}}}", encoding="utf-8")
    with pytest.raises(InputError, match=READING[words]):
        cli.main(words.split(), standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == [NARROW]


@pytest.mark.parametrize("words", ["report", "search", "search --results replay", "explain", "explain --results replay"])
def test_other_runs_are_not_read_for_a_refusal(
    words: str, workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    shutil.copy(empty_store, workplace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
    monkeypatch.setattr("medtransfer.tracking.made.beside", lambda *_: pytest.fail("read the states of all runs"))
    with pytest.raises(InputError, match="it holds none"):
        cli.main(words.split(), standalone_mode=False)


@pytest.mark.parametrize("without", ["file", "tables", "runs"])
def test_a_store_without_runs_is_read_as_empty(
    without: str, workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    file = workplace / "other.db"
    if without != "file":
        file.touch() if without == "tables" else shutil.copy(empty_store, file)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    assert not tracking.has_runs("finetune") and tracking.read_runs("finetune") == []
    assert tracking.read_all_curves(["a"], ["dice"]) == {"dice": {"a": {}}}
    assert file.exists() == (without != "file")


@pytest.mark.slow
def test_an_empty_store_is_filled_and_gives_the_same_report(
    workplace: Path, empty_store: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
):
    params = tiny_params({"finetune.overlays": 0, "report.least": 0})
    text = study.study(params)
    made = tables()
    assert made["tis.csv"].count(b"\n") > 10  # it judges something
    for name in ("mlartifacts", "reports"):
        shutil.rmtree(workplace / name)
    (workplace / "away").mkdir()
    for name in ("data", "checkpoints"):  # the tables need no more than the results
        (workplace / name).rename(workplace / "away" / name)
    shutil.copy(empty_store, workplace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
    assert study.report(params) == text
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    study.report(params)
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    assert len(tracking.read_runs("report")) == 1
    for name in ("data", "checkpoints"):
        (workplace / "away" / name).rename(workplace / name)
    names = ("models/**/metrics.json", "models/**/*.safetensors", "scores/**/*.json", "scores/**/*.npz")
    files = {path: path.stat().st_mtime_ns for name in names for path in Path().glob(name)}
    monkeypatch.setattr("medtransfer.finetune.train.train", None)  # whatever is computed again breaks off
    monkeypatch.setattr(scorer, "measure", None)
    study.score(params)
    study.finetune(params, study.study_cells(params, {}))
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    assert len(files) == 2 * 16 + 2 * 4 + 2
    assert {path: path.stat().st_mtime_ns for path in files} == files
