"""Labels of images go the whole way: fine-tuned in every mode, recorded, drawn, loaded, predicted, exported and judged."""

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tests.tasks.label_targets import LABELS, relabel, uncertain

import medtransfer
from medtransfer import study, tracking
from medtransfer.analysis.patients import by_patient
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.export.serving import Served
from medtransfer.export.stage import run as export
from medtransfer.finetune.evaluation import evaluate
from medtransfer.finetune.stage import run
from medtransfer.hashing import file_sha256
from medtransfer.modes import MODES
from medtransfer.predict.model import load_model
from medtransfer.records import CellName, PreparedTarget, Result, read_tensors
from medtransfer.tasks import TASKS
from medtransfer.training.fabric import Fabric

pytestmark = pytest.mark.long

CHECKPOINTS, PREPARED, MODELS = Path("checkpoints"), Path("data/prepared"), Path("models")
FineTune = Callable[..., Result]


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Prepare a target of every task, and checkpoints."""
    params = tiny_params({"prepare.targets.sample.validation": 0.34})
    target = study.prepare(params)
    for task in LABELS:
        relabel(target, task, PREPARED / task)
    study.pretrain(tiny_params())
    return shared_workplace


@pytest.fixture
def finetune(inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> FineTune:
    """Return `finetune(target, mode, **values)`, which fine-tunes in an empty folder with the inputs."""
    for name in ("checkpoints", "data"):
        shutil.copytree(inputs / name, workplace / name)

    def call(target: str, mode: str = "linear", seed: int = 7, **values: object) -> Result:
        params = tiny_params({f"finetune.{name}": value for name, value in values.items()})
        (result,) = run(params.finetune, [CellName(target, "unet", "simple", 3, mode, seed)], CHECKPOINTS, PREPARED)
        return result

    return call


def folder_of(target: str, mode: str = "linear", seed: int = 7) -> Path:
    return CellName(target, "unet", "simple", 3, mode, seed).folder(MODELS)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "per_image.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        *(("binary", name) for name, mode in MODES.items() if not mode.decoder_transferred),
        ("multilabel", "full"), ("ordinal", "full"), ("multiclass", "linear"),
    ],
)  # fmt: skip
def test_the_model_that_was_tested_is_the_one_that_is_loaded(task, mode, finetune):
    result = finetune(task, mode, overlays=4)
    metric = TASKS[task].primary
    assert (result.task, result.primary) == (task, metric.name) and metric.low <= result.metrics[metric.name] <= metric.high
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert (result.encoder_hash[0] == result.encoder_hash[1]) == MODES[mode].encoder_frozen
    assert len(result.curves[f"validation_{metric.name}"]) == (1 if MODES[mode].solved else 2)
    folder = folder_of(task, mode)
    with Image.open(folder / "overlays.png") as picture:
        assert picture.size[0] > 500
    info = json.loads((folder / "model.json").read_text())
    assert (info["task"], info["classes"], len(info["thresholds"])) == (
        task, LABELS[task][0], 0 if TASKS[task].exclusive else len(LABELS[task][0]),
    )  # fmt: skip
    model, target = load_model(folder, CHECKPOINTS, "cpu"), PreparedTarget.open(PREPARED / task)
    samples = TASKS[task].samples(target, "test", augment=False, mean=info["mean"], std=info["std"], seed=0)
    fabric = Fabric(accelerator="cpu", devices=1)
    again = evaluate(fabric, TASKS[task], model.network, samples, target.info.classes, 10, 0)  # as it was tested
    assert {name: result.metrics[name] for name in again.metrics} == again.metrics
    tested = [[float(row[f"probability_class_{c}"]) for c in range(len(info["classes"]))] for row in rows_of(folder)]
    stored = target.images[target.samples("test")["row"].to_numpy()]
    assert np.allclose(model.predict(stored), tested, atol=1e-5)


def test_the_linear_head_is_that_of_scikit_learn_on_stored_features(finetune):
    first = finetune("binary", weight_decay=0.01)
    (stored,) = (MODELS / ".features").iterdir()
    features = read_tensors(stored)["features"].double().numpy()
    target = PreparedTarget.open(PREPARED / "binary")
    truth = target.image_labels[target.samples("train")["row"].to_numpy()]
    standard = (features - features.mean(0)) / np.where(features.std(0) > 0, features.std(0), 1)
    expected = LogisticRegression(C=1 / (0.01 * len(truth)), tol=1e-10, max_iter=10_000).fit(standard, truth)
    tensors = read_tensors(folder_of("binary") / "weights.safetensors")
    logits = features @ tensors["decoder.linear.weight"].double().numpy().T + tensors["decoder.linear.bias"].double().numpy()
    assert np.allclose(logits[:, 0], expected.decision_function(standard), atol=1e-3)
    entropy = -np.log(expected.predict_proba(standard)[np.arange(len(truth)), truth]).mean()
    assert first.curves["train_loss"] == [pytest.approx(entropy, abs=1e-4)]


def test_features_are_stored_once_and_the_seed_does_not_matter(finetune, caplog):
    first = finetune("multiclass", overlays=0)
    (stored,) = (MODELS / ".features").iterdir()
    written = stored.stat().st_mtime_ns
    assert finetune("multiclass", seed=8, overlays=0).metrics == first.metrics and stored.stat().st_mtime_ns == written
    stored.write_bytes(b"damaged")
    assert finetune("multiclass", seed=9, overlays=0).metrics == first.metrics
    assert "are damaged, and computed again" in caplog.text and stored.stat().st_size > 100


@pytest.mark.parametrize("task", ["binary", "multiclass", "ordinal", "multilabel"])
def test_a_model_that_calls_nearly_all_images_the_same_is_named(task, finetune, monkeypatch, caplog):
    """The logit of the last class is made to win, which changes no order within a class."""
    original, last = TASKS[task].probabilities, len(LABELS[task][0]) - 1

    def probabilities(logits):
        return original(logits + 30 * torch.nn.functional.one_hot(torch.tensor(last), logits.shape[1]))

    monkeypatch.setattr(TASKS[task], "probabilities", probabilities)
    caplog.set_level(logging.INFO, "medtransfer")
    result = finetune(task, "full", overlays=0)
    (line,) = [record for record in caplog.records if f": {TASKS[task].primary.label} " in record.message]
    if task == "multilabel":
        assert "calls" not in line.message and not any("commonest" in name for name in result.metrics)
        return
    images = len(rows_of(folder_of(task, "full")))
    true = int(TASKS[task].shown(PreparedTarget.open(PREPARED / task), "test")[:, -1].sum())
    counts = {name: result.metrics[f"test_images_{name}"] for name in ("predicted_commonest", "truly_commonest")}
    assert counts == {"predicted_commonest": images, "truly_commonest": true}
    assert (
        f"calls {images} of {images} test images {LABELS[task][0][last]} ({true} are); raise finetune.train_epochs" in line.message
    )
    assert line.levelno == logging.WARNING


def test_ten_crops_give_another_result_of_the_same_model(finetune):
    plain = finetune("binary")
    before = rows_of(folder_of("binary"))
    crops = finetune("binary", ten_crop=True)
    assert plain.key != crops.key and len(rows_of(folder_of("binary"))) == len(before) != 0
    assert rows_of(folder_of("binary"))[0]["probability_class_0"] != before[0]["probability_class_0"]


def test_uncertain_labels_are_trained_on(finetune):
    target = PreparedTarget.open(PREPARED / "sample")
    settings = {**target.info.settings, "options": {"uncertain": "lsr-ones"}}
    relabel(target, "multilabel", PREPARED / "unsure", uncertain(target), settings=settings)
    assert np.isfinite(finetune("unsure", "full").metrics["auc"])
    assert {row["true_class_0"] for row in rows_of(folder_of("unsure", "full"))} <= {"", "0.0", "1.0"}


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        ("sample", {}, "labels of images for the mode linear, .* is for segmentation; take the mode decoder"),
        ("sample", {"mode": "full", "ten_crop": True}, "finetune.ten_crop false .* for the task segmentation"),
        ("sample", {"mode": "full", "label_smoothing": 0.1}, "finetune.label_smoothing 0 for the task segmentation"),
        ("binary", {"class_weights": [1.0]}, "2 finetune.class_weights for .*, of not large and large, but got"),
        (
            "multiclass",
            {"loss": "bce"},
            r"finetune.loss to be one of ce, focal for the task multiclass \(.*multiclass\), or null, but got 'bce'",
        ),
        ("binary", {"decoder": "unet"}, "finetune.decoder null for labels of images"),
    ],
)
def test_what_does_not_fit_the_task_is_refused(target, values, message, finetune):
    with pytest.raises(InputError, match=message):
        finetune(target, **{"mode": "linear", **values})
    assert not MODELS.exists() or not list(MODELS.glob("*/*/*/metrics.json"))


@pytest.mark.parametrize(("task", "split"), [("binary", "test"), ("binary", "train"), ("ordinal", "validation")])
def test_a_split_of_one_label_is_refused(task, split, finetune):
    target = PreparedTarget.open(PREPARED / "sample")
    labels = LABELS[task][1](target).astype(np.uint8)
    labels[target.samples(split)["row"].to_numpy()] = 1
    relabel(target, task, PREPARED / "one", labels)
    with pytest.raises(InputError, match=f"with and without a label among the {split} samples of .*one.* take another split"):
        finetune("one")


def test_a_class_of_one_label_is_named_and_left_out(finetune, caplog):
    result = finetune("multilabel")
    assert "in the test samples of data/prepared/multilabel all or none are any: their AUC is undefined" in caplog.text
    assert {"auc_class_0", "auc_class_1"} <= result.metrics.keys() and "auc_class_2" not in result.metrics
    assert result.metrics["auc"] == pytest.approx((result.metrics["auc_class_0"] + result.metrics["auc_class_1"]) / 2)


def test_patients_are_resampled_with_all_their_images(finetune):
    index = pd.read_csv(PREPARED / "binary/index.csv", dtype=str)
    tested = index.index[index["split"] == "test"]
    index.loc[tested, "group"] = [f"patient {number % 6}" for number in range(len(tested))]
    index.to_csv(PREPARED / "binary/index.csv", index=False)
    record = json.loads((PREPARED / "binary/dataset.json").read_text())
    record["arrays"]["index.csv"] = file_sha256(PREPARED / "binary/index.csv")
    (PREPARED / "binary/dataset.json").write_text(json.dumps(record))
    finetune("binary")
    with (folder_of("binary") / "intervals.csv").open() as file:
        intervals = {row["metric"]: row for row in csv.DictReader(file)}
    assert {row["patients"] for row in intervals.values()} == {"6"} and {"auc", "accuracy", "ece"} <= intervals.keys()
    assert float(intervals["auc"]["low"]) <= float(intervals["auc"]["value"]) <= float(intervals["auc"]["high"])
    table, rows = by_patient(folder_of("binary") / "per_image.csv", "auc"), rows_of(folder_of("binary"))
    assert table.patients == tuple(sorted({row["group"] for row in rows}))
    taken = np.random.default_rng(0).multinomial(len(table.patients), [1 / len(table.patients)] * len(table.patients), size=6)
    for times, value in zip(taken, table.values(taken), strict=True):
        often = dict(zip(table.patients, times.tolist(), strict=True))
        chosen = [row for row in rows for _ in range(often[row["group"]])]
        truth, scores = ([float(row[name]) for row in chosen] for name in ("true_class_0", "probability_class_0"))
        assert np.isnan(value) if len(set(truth)) < 2 else value == pytest.approx(roc_auc_score(truth, scores))


def test_labels_of_new_images_are_written_as_a_table(finetune, tmp_path):
    finetune("multiclass")
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(images / f"{name}.png")
    given = {"out": str(tmp_path / "out"), "accelerator": "cpu", "flips": ["horizontal"]}
    files = medtransfer.predict(images, folder_of("multiclass"), **given)
    assert {name: path.name for name, path in files.items()} == {"a": "a.csv", "b": "b.csv"}
    with (tmp_path / "out" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a", "b"]
    for row in rows:
        values = {name: float(row[f"probability of {name}"]) for name in LABELS["multiclass"][0]}
        assert row["predicted"] == max(values, key=values.__getitem__) and sum(values.values()) == pytest.approx(1, abs=1e-5)
    model = load_model(folder_of("multiclass"), CHECKPOINTS, "cpu")
    pixels = np.asarray(Image.open(images / "a.png"))[None, ..., None]
    both = (model.predict(pixels)[0] + model.predict(pixels[:, :, ::-1])[0]) / 2
    assert [float(rows[0][f"probability of {name}"]) for name in LABELS["multiclass"][0]] == pytest.approx(both.tolist(), abs=1e-5)
    with pytest.raises(InputError, match="predict.slide false for a model of labels of images"):
        medtransfer.predict(images, folder_of("multiclass"), slide=True, **given)


def test_a_graph_predicts_labels(finetune, tiny_params):
    finetune("multiclass")
    params = tiny_params({"export.model": str(folder_of("multiclass")), "export.format": "torch"})
    export(params.export, CHECKPOINTS)
    (record,) = Path(params.export.out).glob("**/export.json")
    interface = json.loads(record.read_text())["interface"]
    assert interface["output"]["shape"] == [None, 3]


def test_a_served_model_answers_labels(finetune):
    finetune("binary")
    served, images = Served(load_model(folder_of("binary"), CHECKPOINTS, "cpu")), np.zeros((2, 32, 32, 1), np.float32)
    labels, probabilities = served.predict(images), served.predict(images, {"output": "probabilities"})
    assert labels.shape == (2,) and probabilities.shape == (2, 1)
    assert np.array_equal(labels, (torch.tensor(probabilities)[:, 0] > 0.5).numpy())


def test_every_stage_takes_labels_of_images(finetune, tiny_params, caplog):
    """Scores by labels of images, two checkpoints in two seeds, and the report that judges them by the AUC."""
    caplog.set_level(logging.INFO, "medtransfer")
    shutil.rmtree(PREPARED / "sample")
    shutil.copytree(PREPARED / "binary", PREPARED / "sample")
    path = PREPARED / "sample" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "target": "sample"}))
    params = tiny_params({"study.modes": ["linear"], "score.indicators": ["all"]})
    study.score(params)
    left_out = "gradients, ccfv, ccfv_raw, lbtc, lbtc_corrected"
    assert f"score: {left_out} cannot be measured by labels of images, as on sample" in caplog.messages
    assert all(0 <= run.metrics["ridge"] <= 1 for run in tracking.read_runs("score"))
    cells = [CellName("sample", "unet", "simple", epoch, "linear", seed) for epoch in (0, 1, 3) for seed in (7, 8)]
    run(params.finetune, cells, CHECKPOINTS, PREPARED)
    study.report(params)
    text = Path("reports/report.md").read_text()
    assert "AUC" in text and "Dice" not in text
