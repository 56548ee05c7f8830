"""The contract of every task, on a prepared target of its kind."""

import logging
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.tasks.label_targets import LABELS, relabel

from medtransfer import progress, study
from medtransfer.config import Params
from medtransfer.data.pixels import normalise_pixels
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.encoders.build import build_encoder
from medtransfer.finetune.evaluation import evaluate, predict
from medtransfer.records import PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.training.fabric import Fabric
from medtransfer.wording import duration

CONTRACT = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "seed": 3}


@pytest.fixture(scope="module")
def targets(shared_workplace: Path, tiny_params: Callable[..., Params]) -> dict[str, PreparedTarget]:
    """Prepare a target of every task."""
    target = study.prepare(tiny_params())
    return {"segmentation": target, **{task: relabel(target, task, Path(f"labelled/{task}")) for task in LABELS}}


@pytest.mark.parametrize("name", TASKS)
def test_a_target_is_checked_without_the_libraries_of_training(name, targets):
    """Where all fine-tunings are finished, nothing else would load them, which takes seconds."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom medtransfer.records import PreparedTarget\n"
        f"from medtransfer.tasks import TASKS\ntarget = PreparedTarget.open(Path({str(targets[name].folder)!r}))\n"
        f"TASKS[{name!r}].check(target, ['train', 'test'])\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", TASKS)
def test_one_step_against_the_gradient_lowers_the_loss(name, targets):
    assert targets.keys() == TASKS.keys()
    task, target = TASKS[name], targets[name]
    assert task.labels_file in target.info.arrays
    samples = task.samples(target, "train", augment=True, **CONTRACT)
    pixels, truth, _ = next(iter(loader(samples, EpochBatches(len(samples), 8, seed=0, shuffle=True, drop_last=False), 0, False)))
    images = normalise_pixels(pixels, samples.mean, samples.std)
    torch.manual_seed(0)
    model = task.model(build_encoder("unet", width=4, depth=4), len(target.info.classes))
    assert all(list(model.get_submodule(part).parameters()) for part in ("encoder", "decoder"))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    logits = model(images)
    first = task.loss(logits, truth)
    assert first.shape == () and first.requires_grad
    assert all(task.loss(logits, truth, loss).shape == () for loss in task.losses)
    assert task.loss(logits, truth, task.losses[0]) == first
    first.backward()
    optimiser.step()
    assert task.loss(model(images), truth) < first
    probabilities = task.probabilities(10 * logits.detach())
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_long_evaluation_shows_how_far_it_is(targets, monkeypatch, caplog):
    task, target, now = TASKS["segmentation"], targets["segmentation"], [100.0]
    samples = task.samples(target, "train", augment=False, **CONTRACT)
    model = task.model(build_encoder("unet", width=4, depth=4), len(target.info.classes))

    def wait(*_: object) -> None:
        now[0] += 25.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    model.register_forward_hook(wait)
    caplog.set_level(logging.INFO, "medtransfer")
    evaluate(Fabric(accelerator="cpu", devices=1), task, model, samples, target.info.classes, 4, 0, label="test of x")
    batches = -(-len(samples) // 4)
    left = duration(25 * (batches - 3))
    assert caplog.messages[0] == f"test of x: 3/{batches} batches, 25 s each, {left} left"  # a minute after it began


@pytest.mark.parametrize("name", TASKS)
def test_every_sample_has_the_primary_metric(name, targets, tmp_path):
    task, target = TASKS[name], targets[name]
    samples = task.samples(target, "test", augment=False, **CONTRACT)
    fabric, classes = Fabric(accelerator="cpu", devices=1), target.info.classes
    model = task.model(build_encoder("unet", width=4, depth=4), len(classes))
    evaluation = evaluate(fabric, task, model, samples, classes, 4, 0)
    assert [row["image"] for row in evaluation.per_sample] == samples.images
    assert [row["group"] for row in evaluation.per_sample] == samples.groups
    light = evaluate(fabric, task, model, samples, classes, 4, 0, light=True)
    assert light.metrics.items() <= evaluation.metrics.items() and task.primary.name in light.metrics
    assert task.primary.low <= evaluation.metrics[task.primary.name] <= task.primary.high
    values = [row[task.primary.name] for row in evaluation.per_sample]
    assert all(math.isfinite(value) and value <= task.primary.high for value in values)
    if task.linear:  # what an image contributes to an AUC or kappa, whose mean is the metric where all labels are known
        assert name == "multilabel" or evaluation.metrics[task.primary.name] == pytest.approx(sum(values) / len(values))
    else:
        assert evaluation.metrics[task.primary.name] > 0
    assert all(math.isfinite(value) for value in evaluation.metrics.values())
    with pytest.raises(ValueError, match="at least one image"):
        task.evaluator(classes).compute()
    task.draw(tmp_path / "drawn.png", samples, evaluation, partial(predict, fabric, task, model, samples), classes, 2)
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
