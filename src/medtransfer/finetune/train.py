"""Train and test the model of one cell, and write its folder."""

import logging
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from medtransfer import tracking
from medtransfer.data.epochs import Samples
from medtransfer.encoders.freezing import freeze_all_but, state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.environment import git_revision
from medtransfer.errors import StageError
from medtransfer.finetune.evaluation import evaluate, predict
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.finetune.model import write_model
from medtransfer.finetune.sync import by_epoch
from medtransfer.finetune.trainer import Trainer, joins_last_image
from medtransfer.finetune.validation import Validation
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.records import MODEL_FILE, PER_SAMPLE, WEIGHTS_FILE, Result, write_per_sample, write_tensors
from medtransfer.seeds import derive_seed
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


def build_model(tuning: FineTuning) -> nn.Module:
    """Build the model of a cell: the checkpoint's encoder and a randomly initialised decoder, frozen where the mode says so.

    Raises:
        InputError: the weights are broken, or a batch of one image cannot be trained on.
    """
    encoder = load_encoder(tuning.checkpoint, tuning.info)
    model = tuning.task.model(encoder, len(tuning.class_names), tuning.protocol.decoder)
    initialise(model.get_submodule("decoder"), derive_seed(tuning.cell.seed, "decoder"))
    freeze_all_but(model, tuning.mode.trains)
    height, width = tuning.target.info.input
    joins_last_image(model, tuning.target.info.counts["train"], (height, width), tuning.protocol)
    return model


def train(tuning: FineTuning, model: nn.Module, handle: tracking.Run) -> Result:
    """Train, test the last or the best weights, and write the folder; metrics.json is written last.

    Args:
        tuning: the cell.
        model: model from `build_model`.
        handle: run of the cell; the curves are logged to it.

    Raises:
        StageError: a loss or weight is not finite, or a frozen part changed.
    """
    begin = time.monotonic()
    (tuning.folder / "metrics.json").unlink(missing_ok=True)
    protocol, fabric = tuning.protocol, open_fabric(tuning.section.accelerator, 1, tuning.section.precision)
    with arithmetic(fabric.device, tf32=protocol.tf32, reproducible=protocol.reproducible):
        before = _hashes(model)
        trainer, epochs = _fit(tuning, fabric, model, handle)
        after = _hashes(model)
        for part in before.keys() - tuning.mode.trains:
            if before[part] != after[part]:
                raise StageError(
                    f"the frozen {part} of {tuning.cell.name} changed in training: {before[part]} became {after[part]}"
                )
        metrics = _test(tuning, trainer) | epochs
    result = Result(
        cell=asdict(tuning.cell), key=tuning.cell.key, task=tuning.target.info.task, primary=tuning.task.primary.name,
        metrics=metrics, per_sample=PER_SAMPLE, curves=trainer.curves,
        encoder_hash=[before["encoder"], after["encoder"]],
        settings={
            **asdict(protocol), "class_names": tuning.class_names, "build": tuning.info.build, "arguments": tuning.info.arguments,
            "scaling": tuning.target.info.scaling, "parts": tuning.parts,
            **({"compiled": compiled} if (compiled := trainer.steps.compilation.summary) else {}),
        },  # fmt: skip
        seconds=time.monotonic() - begin, git_revision=git_revision(Path.cwd()),
    )  # fmt: skip
    result.write(tuning.folder / "metrics.json")
    return result


def _hashes(model: nn.Module) -> dict[str, str]:
    return {name: state_hash(part) for name, part in model.named_children()}


def _fit(
    tuning: FineTuning, fabric: Fabric, model: nn.Module, handle: tracking.Run
) -> tuple[Trainer, dict[str, float]]:  # fmt: skip
    """Train to the end, resuming an interrupted training, and load the weights to keep; also return what epochs to record."""
    samples = tuning.samples("train", augment=True)
    state = tuning.folder / ".resume.safetensors"
    trainer = Trainer(
        fabric,
        model,
        samples,
        partial(tuning.task.loss, name=tuning.protocol.loss, options=tuning.protocol.loss_options),
        tuning.protocol,
        tuning.cell.seed,
        state,
        tuning.cell.key,
        tuning.section.workers,
    )
    handle.log_curves(by_epoch(trainer.curves))  # of the epochs before an interruption
    validation = _validation(tuning, trainer)

    def observe(epoch: int, values: dict[str, float]) -> None:
        values |= validation.values(epoch)
        handle.log_metrics(values, epoch)

    trainer.train(f"finetune {tuning.cell.name}", observe, validation.stops)
    validation.restore()
    last = len(trainer.curves["lr"])
    if last < tuning.protocol.train_epochs:
        log.info(
            "finetune: %s stopped after epoch %d of %d: no better validation since epoch %d", tuning.cell.name, last,
            tuning.protocol.train_epochs, validation.best_epoch,
        )  # fmt: skip
    return trainer, validation.record(last)


def _validation(tuning: FineTuning, trainer: Trainer) -> Validation:
    primary, protocol = tuning.task.primary.name, tuning.protocol
    curve, measure = f"validation_{primary}", None
    if "validation" in set(tuning.target.index["split"]):
        samples = tuning.samples("validation")
        measure = lambda: _evaluate(tuning, trainer, samples, light=True).metrics[primary]  # noqa: E731
    return Validation(
        curve, measure, trainer.steps.kept, epochs=protocol.train_epochs, every=protocol.validate_every,
        patience=protocol.patience, earlier=trainer.curves.get(curve, []),
        best=tuning.folder / ".best.safetensors" if protocol.select == "validation" else None,
    )  # fmt: skip


def _test(tuning: FineTuning, trainer: Trainer) -> dict[str, float]:
    """Evaluate on the test samples; write weights, values per sample and overlays, and return the metrics."""
    samples = tuning.samples("test")
    evaluation = _evaluate(tuning, trainer, samples)
    weights, kept = tuning.folder / WEIGHTS_FILE, tuple(f"{part}." for part in tuning.parts)
    for file in (weights, tuning.folder / MODEL_FILE):
        file.unlink(missing_ok=True)
    if kept:
        tensors = trainer.steps.kept.state_dict()
        write_tensors(weights, {name: tensor for name, tensor in tensors.items() if name.startswith(kept)})
        write_model(tuning, tuning.parts)
    write_per_sample(tuning.folder, evaluation.per_sample)
    if tuning.section.overlays:
        predicted = partial(predict, trainer.fabric, tuning.task, trainer.steps.kept)
        tuning.task.draw(
            tuning.folder / "overlays.png", samples, evaluation, predicted, tuning.class_names, tuning.section.overlays
        )
    return evaluation.metrics | _image_counts(tuning, evaluation)


def _image_counts(tuning: FineTuning, evaluation: Evaluation) -> dict[str, float]:
    """Return the number of test samples, of those without foreground, and of those where the model predicts none."""
    counts, empty = {"test_images": len(evaluation.per_sample)}, tuning.task.count_empty(evaluation)
    if empty is not None:
        counts |= {"test_images_truly_empty": empty[0], "test_images_predicted_empty": empty[1]}
    return {name: float(count) for name, count in counts.items()}


def _evaluate(tuning: FineTuning, trainer: Trainer, samples: Samples, *, light: bool = False) -> Evaluation:
    section, model = tuning.section, trainer.steps.kept
    return evaluate(trainer.fabric, tuning.task, model, samples, tuning.class_names, section.batch_size, section.workers, light)
