"""Commands whose result is finished say so without the libraries that would make it, which take seconds to load."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.records import CellName
from medtransfer.working_folder import load

pytestmark = pytest.mark.long

CHOSEN = {
    "pretrain.epochs": 2, "pretrain.checkpoints": [1], "finetune.epoch": 1, "finetune.train_epochs": 1, "finetune.epoch_steps": 1,
    "finetune.overlays": 0, "study.seeds": [7], "study.modes": ["full"], "score.indicators": ["robustness"],
    "rank.candidates": ["checkpoints/unet-simple", "random@test_resnet"], "rank.indicators": ["robustness"], "rank.workers": 1,
    "guard.seeds": 2, "guard.workers": 1, "guard.validation": 0.67, "guard.train_epochs": 1, "race.workers": 1,
    "race.validation": 0.67, "report.least": 0.0, "cka.candidates": ["checkpoints/unet-simple"], "cka.max_images": 8,
}  # fmt: skip
MODEL = "models/sample/unet-simple/e001-full-s7"
# Commands, and what each says where it has nothing to do.
REUSED = {
    "prepare": "prepare: data/prepared/sample already exists",
    "pretrain": "pretrain: unet-simple is finished",
    "score": "score: unet-simple → sample is finished",
    "finetune --seed 7": "finetune: e001 full s7 · unet-simple → sample is finished",
    "rank": "rank: 4 of 4 candidates are measured already; reused",
    "guard": "guard: 4 of 4 fine-tunings are finished; reused",
    "race": "race: 1 of 1 fine-tunings are finished; reused",
    "cka": "cka: these encoders are compared already; reused",
    "grid --plan": "",
    "demo": "grid: 6 reused, 0 to do",
    f"predict --model {MODEL} --images pictures": "predict: pictures · e001 full s7 · unet-simple → sample is finished",
    f"export --model {MODEL} --format folder": "export: exports/sample/unet-simple/e001-full-s7/folder is finished: reused",
    "evidence export --out evidence.csv": "",
    "search": "search: what it is made of has not changed",
    "explain": "explain: what it is made of has not changed",
    "report": "report: what it is made of has not changed",
    "replay --paper truong": "replay: what it is made of has not changed",
}
REFUSED = {
    "rank nowhere": "'nowhere', which is none of them",
    "indicators": "expected --features, --probs or --maps, but got none",
    f"predict --model {MODEL} --images pictures --masks nowhere": "reference masks of the images at nowhere",
    "rank --by nowhere": "the indicator 'nowhere'",
    "cka nowhere": "'nowhere'",
    "race nowhere x": "'nowhere'",
    "score --level -9": "expected score.level from -1 to -4 for unet, but got -9",
    "score --split nowhere": "expected samples of the split 'nowhere'",
    "score --seed 99 --precision 16-mixed": "expected a GPU for precision 16-mixed",
    "finetune --seed 99 --accelerator gpu": "has no driver of a GPU",
    "finetune --epoch 0,1 --seed 99 --precision 16-mixed": "expected a GPU for precision 16-mixed",
    "pretrain --force --accelerator gpu": "has no driver of a GPU",
    "pretrain --force --num-nodes 2": "expected the command to be started on 2 machines",
    f"predict --force --model {MODEL} --images pictures --accelerator gpu": "has no driver of a GPU",
    f"predict --model {MODEL} --images broken.png": "expected a picture in broken.png, but it cannot be read",
    "finetune --seed 99 --loss nowhere": "expected finetune.loss to be one of dice",
    "finetune --seed 99 --augmentation '[{HorizontalFlipp: {}}]'": "of albumentations in finetune.augmentation, such as",
    "pretrain --params params.yaml --params depht.yaml": "encoder unet among depth, in_channels, width, but got depht",
    "pretrain --params params.yaml --params timm.yaml": "the name of a timm model, such as resnet50, ",
    "replay": "expected --downstream",
    "replay --downstream params.yaml --robustness params.yaml": "in params.yaml, but got ",
    "replay --downstream nowhere.csv --robustness nowhere.csv": "expected a table in nowhere.csv, but there is none",
}
ALLOWED = {"cka": ["matplotlib"]}  # whose words are those of the page of the report
HEAVY = ("torch", "torchvision", "timm", "mlflow", "matplotlib", "scipy.stats", "albumentations", "cv2", "sklearn")


@pytest.fixture(scope="module")
def finished(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return a folder in which every command has run."""
    from medtransfer.cka.stage import run as cka
    from medtransfer.encoders import timm_index
    from medtransfer.export.stage import run as export
    from medtransfer.guard.stage import run as guard
    from medtransfer.predict.stage import run as predict
    from medtransfer.race.stage import run as race
    from medtransfer.rank.stage import run as rank

    values = tiny_params({**CHOSEN, "rank.workers": 1}).model_dump(mode="json", exclude_unset=True)
    timm_index._places.cache_clear()  # other tests remember the names in folders of their own
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    params = load()
    study.prepare(params)
    study.pretrain(params)
    study.score(params)
    study.finetune(params, [CellName("sample", "unet", "simple", epoch, "full", 7) for epoch in (0, 1, 2)])
    printed = study.with_values(params, "replay", paper="truong")
    # Each before those that its runs are shown by: the winner of a race is an outcome to `rank`, that of a search one to `report`.
    for command in (guard, race, cka, rank, study.search, study.explain, study.report):
        command(params)
    study.replay(printed)
    Path("pictures").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save("pictures/one.png")
    Path("depht.yaml").write_text("pretrain: {encoders: {unet: {depht: 3}}}", encoding="utf-8")
    Path("timm.yaml").write_text("pretrain: {encoders: {other: {build: timm, name: resnet999}}, encoder: other}", encoding="utf-8")
    Path("broken.png").write_text("no picture", encoding="utf-8")
    shown = load(overrides={"predict.model": [MODEL], "predict.images": "pictures"})
    predict(shown.predict, Path(shown.pretrain.out), Path(shown.prepare.out))
    export(load(overrides={"export.model": MODEL, "export.format": "folder"}).export, Path(shown.pretrain.out))
    return shared_workplace


def loaded(words: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run a command as where there is no GPU, in its own process; return its exit code, its heavy modules and what it said.

    Args:
        words: words of the command.
        folder: folder to run it in.
        variables: environment variables to set.
    """
    code = (
        "import sys, medtransfer.cli as cli, medtransfer.environment as here\nhere.has_driver = lambda: False\n"
        f"try: cli.main()\nfinally: print('loaded', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *shlex.split(words)]
    done = subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()[-1], done.stderr


@pytest.mark.parametrize("words", REUSED)
def test_what_is_finished_is_reused_without_heavy_libraries(words: str, finished: Path) -> None:
    code, heavy, said = loaded(words, finished)
    assert (code, REUSED[words] in said) == (0, True), said
    assert heavy == f"loaded {ALLOWED.get(words, [])}"


@pytest.mark.parametrize("words", REFUSED)
def test_wrong_names_are_refused_without_heavy_libraries(words: str, finished: Path) -> None:
    code, heavy, said = loaded(words, finished)
    assert (code, REFUSED[words] in said) == (2, True), said
    assert heavy == "loaded []"


@pytest.mark.parametrize("words", ["report", "search", "score --seed 99", "rank resnet18.a1_in1k", "cka resnet18.a1_in1k random"])
def test_a_server_that_does_not_listen_is_refused_without_heavy_libraries(words: str, finished: Path) -> None:
    code, heavy, said = loaded(words, finished, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    reason = (
        "expected a tracking store at http://127.0.0.1:9, but it does not answer ([Errno 111] Connection refused); start or mend"
    )
    assert (code, reason in said) == (2, True), said
    assert heavy == "loaded []"


def test_a_target_is_prepared_without_heavy_libraries(finished: Path) -> None:
    code, heavy, said = loaded("prepare --force", finished)
    assert (code, heavy) == (0, "loaded []") and "train" in said


def test_a_ranking_is_made_again_when_a_file_or_an_outcome_has_changed(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medtransfer.rank import assess, stage

    made: list[int] = []
    real = assess.assess
    monkeypatch.setattr(assess, "assess", lambda *arguments: (made.append(1), real(*arguments))[1])
    text = stage.run(load())
    assert not made and stage.run(load(), brief=True) == text.splitlines()[0]
    page = Path("rank/ranking.html")
    before = page.read_text(encoding="utf-8")
    page.write_text("edited", encoding="utf-8")
    assert stage.run(load()) == text and page.read_text(encoding="utf-8") == before and len(made) == 1
    stage.run(load(overrides={"rank.by": "knn"}))
    assert len(made) == 2
    stage.run(load(overrides={"rank.by": "knn"}))
    assert len(made) == 2
    tracking.connect().delete_run(tracking.read_runs("rank")[0].id)
    stage.run(load(overrides={"rank.by": "knn"}))
    assert len(made) == 3


def test_a_ranking_depends_on_weights_images_and_outcomes(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medtransfer.analysis.evidence_rows import all_rows
    from medtransfer.rank import finished as ranked
    from medtransfer.rank.candidates import read_candidates
    from medtransfer.rank.targets import open_target

    params = load()
    candidates, target = read_candidates(params.rank.candidates, params), open_target(params).info
    rows = all_rows(Path(params.prepare.out), Path(params.evidence.out))
    requests = [
        ranked.request_of(params, candidates, target, rows),
        ranked.request_of(params, candidates[:-1], target, rows),
        ranked.request_of(params, candidates, replace(target, arrays={"images": "0" * 64}), rows),
        ranked.request_of(params, candidates, target, rows[:-1]),
    ]
    monkeypatch.setattr(ranked, "identify", lambda candidate, seed: "others")
    requests.append(ranked.request_of(params, candidates, target, rows))
    assert rows and None not in requests and len(set(requests)) == len(requests)


def test_a_report_is_made_again_after_a_new_result_and_not_after_a_prediction(finished: Path) -> None:
    """The stages that it depends on are those whose runs it reads."""
    params, page = load(), Path("reports/report.md")
    study.report(params)
    record = json.loads(Path("reports/finished.json").read_text(encoding="utf-8"))
    assert set(record["states"]) == {"cka", "finetune", "pretrain", "rank", "score", "search"}
    with tracking.open_run("predict", "predict", "predicted", {}, {}):
        pass
    page.write_text("", encoding="utf-8")
    study.report(params)
    text = page.read_text(encoding="utf-8")
    assert "full" in text
    study.finetune(params, [CellName("sample", "unet", "simple", 1, "decoder", 7)])
    study.report(params)
    assert page.read_text(encoding="utf-8") != text
    after = json.loads(Path("reports/finished.json").read_text(encoding="utf-8"))["states"]
    assert {stage for stage in after if after[stage] != record["states"][stage]} == {"finetune"}
