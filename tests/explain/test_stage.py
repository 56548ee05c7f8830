"""The whole stage on a tiny pretraining, with real scores and planted test results: values, files, page, run, interruptions."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.report.test_page import outline
from torch import Tensor

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.data.views import TwoViews
from medtransfer.errors import InputError
from medtransfer.explain import features
from medtransfer.explain.quantities import QUANTITIES
from medtransfer.hashing import digest
from medtransfer.records import CheckpointInfo, PreparedTarget, Scores, checkpoint_path
from medtransfer.records.finished import forget_finished
from medtransfer.training.checkpoints import load_encoder

pytestmark = pytest.mark.long

EPOCHS, LEVELS = (0, 1, 2, 3, 4), (-1, -2, -3, -4)
SERIES, FEATURES = Path("checkpoints/unet-simple"), Path("explain/features/sample/unet-simple")
CHOSEN = {"pretrain.epochs": 4, "pretrain.checkpoints": [1, 2, 3], "explain.out": "explain", "score.max_images": 6}
DICE = {
    ("full", 0): (0.50, 0.52), ("full", 1): (0.61, 0.60), ("full", 2): (0.58, 0.62), ("full", 3): (0.66, 0.63),
    ("full", 4): (0.64, 0.70),
    ("decoder", 0): (0.3, 0.31), ("decoder", 1): (0.28, 0.27), ("decoder", 2): (0.35, 0.33), ("decoder", 3): (0.31, 0.36),
    ("decoder", 4): (0.40, 0.38),
}  # fmt: skip


def plant(params: Params) -> None:
    """Write the fine-tunings of the study to the store."""
    described = study.described(params)
    shared = {
        "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "protocol": described.protocol,
        "pretraining": described.pretraining["unet", "simple"], "data": described.data["sample"], "primary": "dice",
    }  # fmt: skip
    cells = [
        ({**shared, "mode": mode, "epoch": epoch, "seed": seed}, value)
        for (mode, epoch), values in DICE.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    records = [tracking.RunRecord("cell", digest(cell, 16), cell, {"dice": value}) for cell, value in cells]
    tracking.write_runs("finetune", records, "runs")


@pytest.fixture(scope="module")
def explained(shared_workplace: Path, tiny_params: Callable[..., Params]) -> tuple[Params, str]:
    """Explain a study once; return its params and the text."""
    params = tiny_params(CHOSEN)
    study.prepare(params)
    study.pretrain(params)
    study.score(params)
    plant(params)
    return params, study.explain(params)


def rows_of(name: str) -> list[dict[str, str]]:
    with Path("explain", name).open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def maps_of(epoch: int, params: Params) -> list[Tensor]:
    """Return the maps (N, D, h, w) of every level of the scored images, in one batch."""
    path = checkpoint_path(SERIES, epoch)
    info, section = CheckpointInfo.read(path), params.score
    target = PreparedTarget.open(Path("data/prepared/sample"))
    images = TwoViews(
        target, section.split, mean=info.input["mean"], std=info.input["std"], seed=section.seed, max_images=section.max_images
    )
    with torch.no_grad():
        return load_encoder(path, info).eval()(images.images(np.arange(len(images))))


def pixels(maps: Tensor) -> np.ndarray:
    return maps.permute(0, 2, 3, 1).flatten(0, 2).double().numpy()


def debiased(x: np.ndarray, y: np.ndarray) -> float:
    """Compute HSIC by Eq. 5 of Song et al., from kernels without diagonals."""
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    n, ones = len(k), np.ones(len(k))
    whole = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ k @ m @ ones)
    return float(whole / (n * (n - 3)))


def test_every_checkpoint_and_level_has_a_row_with_stored_robustness(explained: tuple[Params, str]) -> None:
    rows = rows_of("explain.csv")
    assert [(row["mode"], int(row["epoch"]), int(row["level"])) for row in rows] == [
        (mode, epoch, level) for mode in ("decoder", "full") for epoch in EPOCHS for level in LEVELS
    ]
    for row in rows:
        scores = Scores.read(checkpoint_path(Path("scores/sample/unet-simple"), int(row["epoch"])))
        setting = {"distance": "cosine", "level": int(row["level"]), "pooled": row["mode"] == "decoder", "margin": 0.5}
        (expected,) = (score.value for score in scores.rows if score.indicator == "robustness" and score.setting == setting)
        assert float(row["robustness"]) == pytest.approx(expected, abs=1e-12)
        assert float(row["dice_mean"]) == pytest.approx(np.mean(DICE[row["mode"], int(row["epoch"])]))
        assert row["channels"] == str(32 // 2 ** (-1 - int(row["level"])))


@pytest.mark.parametrize("epoch", [0, 2, 4])
def test_quantities_are_those_of_the_maps(explained: tuple[Params, str], epoch: int) -> None:
    """At the two coarsest levels all pixels are in the sample: variance, rank and CKA can be computed from whole maps."""
    own, last = maps_of(epoch, explained[0]), maps_of(EPOCHS[-1], explained[0])
    rows = {int(row["level"]): row for row in rows_of("explain.csv") if (row["mode"], row["epoch"]) == ("full", str(epoch))}
    for level in (-1, -2):
        x, y = pixels(own[level]), pixels(last[level])
        assert float(rows[level]["variance"]) == pytest.approx(np.trace(np.cov(x.T)) / x.shape[1], rel=1e-5)
        singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
        shares = singular / singular.sum()
        assert float(rows[level]["effective_rank"]) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-3)
        cka = debiased(x, y) / np.sqrt(debiased(x, x) * debiased(y, y))
        assert float(rows[level]["cka"]) == pytest.approx(cka, abs=1e-4)
        if epoch == EPOCHS[-1]:
            assert float(rows[level]["cka"]) == pytest.approx(1, abs=1e-9)
        assert -4 <= float(rows[level]["alignment"]) < 0 < float(rows[level]["uniformity"])


def test_the_page_is_whole_and_shows_what_the_tables_hold(explained: tuple[Params, str]) -> None:
    page = Path("explain/explain.html").read_text(encoding="utf-8")
    found = outline(page)
    assert found.headings == [
        "In numbers", "By pretraining epoch", "What goes with what", "Where they agree, and where they part", "Everything else",
    ]  # fmt: skip
    assert "https://" not in page and "src=" not in page and page.count('role="img"') == 1
    for quantity in QUANTITIES.values():
        assert quantity.label in page
    for row in rows_of("associations.csv")[1:]:
        assert f"{abs(float(row['outcome'])):.2f}" in page
    text = Path("explain/explain.md").read_text(encoding="utf-8")
    assert "cannot be said from as few as 4 checkpoints" in text and "None of the 24 associations is tested" in text
    for line in explained[1].split("\n\n")[:2]:
        assert line in text
    (picture,) = Path("explain/figures").glob("*.png")
    assert min(Image.open(picture).size) > 500


def test_tables_and_run_have_every_association(explained: tuple[Params, str]) -> None:
    epoch, *rows = rows_of("associations.csv")
    assert epoch["quantity"] == "epoch"
    assert {(row["quantity"], int(row["level"])) for row in rows} == {(name, level) for name in QUANTITIES for level in LEVELS}
    (run,) = tracking.read_runs("explain")
    assert run.params["configurations"] == "2"
    for row in rows:
        assert run.metrics[f"spearman_{row['quantity']}_level_{-int(row['level'])}"] == pytest.approx(float(row["outcome"]))
    with tracking.artifact_folder(run.id, "") as folder:
        names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "explain.html", "explain.md", "explain.csv", "associations.csv", "steps.csv", "figures/000-sample-unet-simple.png",
    }  # fmt: skip
    assert len(rows_of("steps.csv")) == 2 * 4 * len(LEVELS)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the epochs that are measured from now on."""
    epochs: list[int] = []
    measure = features.measure

    def noting(*arguments: Any, **options: Any) -> Any:
        epochs.append(int(options["label"].split()[-1]))
        return measure(*arguments, **options)

    monkeypatch.setattr(features, "measure", noting)
    return epochs


def test_a_finished_explanation_is_reused(explained: tuple[Params, str], measured: list[int]) -> None:
    params, text = explained
    assert study.explain(params) == text
    assert measured == [] and len(tracking.read_runs("explain")) == 1


@pytest.mark.slow
def test_a_killed_pass_loses_one_checkpoint_at_most(
    explained: tuple[Params, str], measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, before = explained[0], rows_of("explain.csv")
    forget_finished(Path("explain"))
    for path in FEATURES.glob("epoch-*.json"):
        path.unlink()
    counting = features.measure

    def dying(*arguments: Any, **options: Any) -> Any:
        if len(measured) == 3:
            raise KeyboardInterrupt
        return counting(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(features, "measure", dying)
        with pytest.raises(KeyboardInterrupt):
            study.explain(params)
    assert measured == [4, 0, 1] and not list(FEATURES.glob(".*partial"))
    assert {path.name for path in FEATURES.glob("epoch-*")} == {f"epoch-00{epoch}.json" for epoch in (0, 1, 4)}
    study.explain(params)
    assert measured == [4, 0, 1, 2, 3] and rows_of("explain.csv") == before


@pytest.mark.slow
def test_broken_samples_of_the_last_checkpoint_are_drawn_again(explained: tuple[Params, str], measured: list[int]) -> None:
    forget_finished(Path("explain"))
    (FEATURES / "epoch-002.json").write_text(json.dumps({"format": "medtransfer/scores/4"}))
    (FEATURES / features.REFERENCE).write_bytes(b"PK broken")
    study.explain(explained[0])
    assert measured == [4, 2]


@pytest.mark.slow
def test_other_images_are_measured_again(explained: tuple[Params, str], measured: list[int], tiny_params: Any) -> None:
    study.explain(tiny_params({**CHOSEN, "score.max_images": 5}))
    assert sorted(measured) == list(EPOCHS)
    study.explain(explained[0])


def test_results_of_other_checkpoints_are_refused(explained: tuple[Params, str], monkeypatch: pytest.MonkeyPatch) -> None:
    SERIES.rename("elsewhere")
    try:
        with pytest.raises(InputError, match="checkpoints/unet-simple"):
            study.explain(explained[0])
    finally:
        Path("elsewhere").rename(SERIES)


def test_an_empty_store_is_an_error(workplace: Path, tiny_params: Callable[..., Params]) -> None:
    with pytest.raises(InputError, match="expected .* it holds none"):
        study.explain(tiny_params({"explain.out": "explain"}))


def test_what_the_study_does_not_plan_is_said(explained: tuple[Params, str]) -> None:
    params, _ = explained
    assert not {0, 1} & set(params.study.seeds)
    planned = len(study.study_cells(params, {}))
    assert f"- {planned} of the {planned} fine-tunings" not in Path("explain/explain.md").read_text()  # nothing is of the section
    study.explain(params.model_copy(update={"study": params.study.model_copy(update={"seeds": [0], "modes": ["full"]})}))
    assert "- 15 fine-tunings are judged that the section `study` does not plan: mode decoder; seed 1" in Path(
        "explain/explain.md").read_text()  # fmt: skip
