"""Train and test the model of one cell, and write its folder."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from medtransfer import tracking
from medtransfer.data.epochs import Samples
from medtransfer.decoders.contract import Decoder
from medtransfer.decoders.linear_head import ImageClassifier
from medtransfer.encoders.channels import adapt_input
from medtransfer.encoders.freezing import freeze_all_but, state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.environment import git_revision
from medtransfer.errors import StageError
from medtransfer.finetune.decoder_start import load_decoder
from medtransfer.finetune.evaluation import LOSS, evaluate, predict
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.finetune.linear import solve_head
from medtransfer.finetune.model import write_model
from medtransfer.finetune.stored_features import OnFeatures
from medtransfer.finetune.sync import by_epoch
from medtransfer.finetune.trainer import Curves, Trainer, joins_last_image
from medtransfer.finetune.validation import LOSS_CURVE, RECORDED, Validation
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.records import (
    INTERVALS,
    MODEL_FILE,
    PER_SAMPLE,
    WEIGHTS_FILE,
    Result,
    read_tensors,
    write_per_sample,
    write_tensors,
    write_text,
)
from medtransfer.records.tables import as_csv
from medtransfer.seeds import derive_seed
from medtransfer.tasks.results import read_result
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import open_fabric
from medtransfer.training.fabric import Fabric

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes:
        model: with the weights to keep, on its device.
        curves: values by epoch.
        compiled: what torch.compile compiled; empty without it.
        epochs: metrics that say which epochs the weights are from.
    """

    model: nn.Module
    curves: Curves
    compiled: str = ""
    epochs: dict[str, float] = field(default_factory=dict)


def build_model(tuning: FineTuning) -> nn.Module:
    """Build the model of a cell: the checkpoint's encoder, and a random decoder or the checkpoint's, frozen where the mode says so.

    Raises:
        InputError: the weights are broken, or a batch of one image cannot be trained on.
    """
    channels = tuning.target.info.input_channels
    encoder = adapt_input(load_encoder(tuning.checkpoint, tuning.info), channels)
    model = tuning.task.model(encoder, len(tuning.class_names), tuning.decoder)
    initialise(model.get_submodule("decoder"), derive_seed(tuning.cell.seed, "decoder"))
    if tuning.mode.decoder_transferred:
        load_decoder(tuning.checkpoint, tuning.info, cast(Decoder, model.get_submodule("decoder")))
    freeze_all_but(model, tuning.mode.trains)
    height, width = tuning.target.info.input
    joins_last_image(model, len(tuning.target.samples("train")), (channels, height, width), tuning.protocol)
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
    protocol, fabric = tuning.protocol, open_fabric(tuning.section.accelerator, 1, tuning.section.precision)
    with arithmetic(fabric.device, tf32=protocol.tf32, reproducible=protocol.reproducible):
        before = _hashes(model)
        fitted = (_solve if tuning.mode.solved else _fit)(tuning, fabric, model, handle)
        after = _hashes(model)
        for part in before.keys() - tuning.mode.trains:
            if before[part] != after[part]:
                raise StageError(
                    f"the frozen {part} of {tuning.cell.name} changed in training: {before[part]} became {after[part]}"
                )
        metrics = _test(tuning, fabric, fitted.model) | fitted.epochs
    hashes = [before["encoder"], after["encoder"]]
    return _write(tuning, metrics, fitted.curves, hashes, fitted.compiled, time.monotonic() - begin)


def test_again(tuning: FineTuning, model: nn.Module, trained: Path, handle: tracking.Run) -> Result:
    """Evaluate a model that was trained before, and tested on other samples, and write the folder as `train` does.

    Args:
        tuning: the cell.
        model: model from `build_model`.
        trained: folder of the trained model, whose record is that of `tuning.twin`.
        handle: run of the cell; the curves are logged to it.
    """
    begin = time.monotonic()
    result, fabric = read_result(trained / "metrics.json"), open_fabric(tuning.section.accelerator, 1, tuning.section.precision)
    model.load_state_dict(model.state_dict() | read_tensors(trained / WEIGHTS_FILE))
    handle.log_curves(by_epoch(result.curves))
    with arithmetic(fabric.device, tf32=tuning.protocol.tf32, reproducible=tuning.protocol.reproducible):
        metrics = _test(tuning, fabric, fabric.to_device(model))
    metrics |= {name: result.metrics[name] for name in RECORDED if name in result.metrics}
    seconds = result.seconds + time.monotonic() - begin
    return _write(tuning, metrics, result.curves, result.encoder_hash, result.settings.get("compiled", ""), seconds)


def _write(
    tuning: FineTuning, metrics: dict[str, float], curves: Curves, hashes: list[str], compiled: str, seconds: float
) -> Result:  # fmt: skip
    """Write the record of a trained model, the last of its files."""
    result = Result(
        cell=asdict(tuning.cell), key=tuning.cell.key, task=tuning.target.info.task, primary=tuning.task.primary.name,
        metrics=metrics, per_sample=PER_SAMPLE, curves=curves, encoder_hash=hashes,
        settings={
            **asdict(tuning.protocol), "class_names": tuning.class_names, "build": tuning.info.build,
            "arguments": tuning.info.arguments, "scaling": tuning.target.info.scaling, "parts": tuning.parts,
            **({"regions": tuning.target.info.regions} if tuning.target.info.regions else {}),
            **({"compiled": compiled} if compiled else {}),
        },  # fmt: skip
        seconds=seconds, git_revision=git_revision(Path.cwd()),
    )  # fmt: skip
    result.write(tuning.folder / "metrics.json")
    return result


def _hashes(model: nn.Module) -> dict[str, str]:
    return {name: state_hash(part) for name, part in model.named_children()}


def _solve(tuning: FineTuning, fabric: Fabric, model: nn.Module, handle: tracking.Run) -> Fitted:
    """Solve for the head, and evaluate it on the validation samples if there are any."""
    loss = solve_head(tuning, fabric, model)
    values = {"train_loss": loss}
    if "validation" in set(tuning.target.index["split"]):
        primary = tuning.task.primary.name
        values[f"validation_{primary}"] = _evaluate(
            tuning, fabric, model, tuning.samples("validation"), "validation", light=True
        ).metrics[primary]
    handle.log_metrics(values, 1)
    return Fitted(model, {name: [value] for name, value in values.items()})


def _fit(tuning: FineTuning, fabric: Fabric, model: nn.Module, handle: tracking.Run) -> Fitted:
    """Train to the end, resuming an interrupted training, and load the weights to keep."""
    head = _on_features(tuning, fabric, model)
    learner, samples = (head.model, head.samples) if head else (model, tuning.samples)
    state = tuning.folder / ".resume.safetensors"
    trainer = Trainer(
        fabric,
        learner,
        samples("train", augment=True),
        partial(tuning.task.loss, name=tuning.protocol.loss, options=tuning.protocol.loss_options),
        tuning.protocol,
        tuning.cell.seed,
        state,
        tuning.cell.key,
        tuning.section.workers,
    )
    handle.log_curves(by_epoch(trainer.curves))  # of the epochs before an interruption
    validation, protocol = _validation(tuning, trainer, samples), tuning.protocol
    watched = _test_curve(tuning, trainer, samples)

    def observe(epoch: int, values: dict[str, float]) -> None:
        values |= validation.values(epoch) | watched(epoch)
        handle.log_metrics(values, epoch)

    trainer.train(
        f"finetune {tuning.cell.name}", observe, validation.stops,
        lambda: validation.rate(protocol.plateau_factor, protocol.plateau_patience),
    )  # fmt: skip
    validation.restore()
    last = len(trainer.curves["lr"])
    if last < protocol.train_epochs:
        log.info(
            "finetune: %s stopped after epoch %d of %d: no better validation since epoch %d", tuning.cell.name, last,
            protocol.train_epochs, validation.best_epoch,
        )  # fmt: skip
    kept = head.whole(trainer.steps.kept) if head else trainer.steps.kept
    return Fitted(kept, trainer.curves, trainer.steps.compilation.summary, validation.record(last))


def _on_features(tuning: FineTuning, fabric: Fabric, model: nn.Module) -> OnFeatures | None:
    """Return the training on stored features that the mode asks for; None where it trains on images."""
    if not tuning.mode.on_features:
        return None
    assert isinstance(model, ImageClassifier)
    return OnFeatures(tuning, fabric, model)


def _validation(tuning: FineTuning, trainer: Trainer, opened: Callable[..., Samples]) -> Validation:
    primary, protocol = tuning.task.primary.name, tuning.protocol
    curve, kept, measure = f"validation_{primary}", trainer.steps.kept, None
    monitored = LOSS_CURVE if protocol.monitor == "loss" else curve
    if "validation" in set(tuning.target.index["split"]):
        samples, loss = opened("validation"), trainer.loss if monitored == LOSS_CURVE else None

        def measure() -> dict[str, float]:
            metrics = _evaluate(tuning, trainer.fabric, kept, samples, "validation", light=True, loss=loss).metrics
            return {curve: metrics[primary], **({} if loss is None else {LOSS_CURVE: metrics[LOSS]})}

    return Validation(
        monitored, measure, kept, epochs=protocol.train_epochs, every=protocol.validate_every,
        patience=protocol.patience, earlier=trainer.curves.get(monitored, []),
        best=tuning.folder / ".best.safetensors" if protocol.select == "validation" else None,
    )  # fmt: skip


def _test_curve(
    tuning: FineTuning, trainer: Trainer, opened: Callable[..., Samples]
) -> Callable[[int], dict[str, float]]:  # fmt: skip
    """Return what is measured on the test samples after an epoch, for the curve alone; empty but every `test_every` epochs."""
    primary, protocol = tuning.task.primary.name, tuning.protocol
    if protocol.test_every is None:
        return lambda epoch: {}
    samples, every = opened("test"), protocol.test_every

    def measure(epoch: int) -> dict[str, float]:
        if epoch % every and epoch != protocol.train_epochs:
            return {}
        metrics = _evaluate(tuning, trainer.fabric, trainer.steps.kept, samples, "test", light=True).metrics
        return {f"test_{primary}": metrics[primary]}

    return measure


def _test(tuning: FineTuning, fabric: Fabric, model: nn.Module) -> dict[str, float]:
    """Evaluate on the samples of `protocol.evaluate`; write weights, values per sample and overlays, and return the metrics."""
    samples = tuning.samples(tuning.protocol.evaluate, ten_crop=tuning.protocol.ten_crop)
    evaluation = _evaluate(tuning, fabric, model, samples, tuning.protocol.evaluate)
    weights, kept = tuning.folder / WEIGHTS_FILE, tuple(f"{part}." for part in tuning.parts)
    for file in (tuning.folder / "metrics.json", weights, tuning.folder / MODEL_FILE):  # until here a model of other options stays
        file.unlink(missing_ok=True)
    if kept:
        tensors = model.state_dict()
        write_tensors(weights, {name: tensor for name, tensor in tensors.items() if name.startswith(kept)})
        write_model(tuning, tuning.parts)
    write_per_sample(tuning.folder, evaluation.per_sample)
    (tuning.folder / INTERVALS).unlink(missing_ok=True)
    if evaluation.intervals:
        write_text(tuning.folder / INTERVALS, as_csv(evaluation.intervals))
    if tuning.section.overlays:
        predicted = partial(predict, fabric, tuning.task, model, samples)
        tuning.task.draw(
            tuning.folder / "overlays.png", samples, evaluation, predicted, tuning.class_names, tuning.section.overlays
        )
    return evaluation.metrics | _image_counts(tuning, evaluation)


def _image_counts(tuning: FineTuning, evaluation: Evaluation) -> dict[str, float]:
    """Return the number of evaluated samples, of those that the task counts, and of training samples of a portion."""
    images = f"{tuning.protocol.evaluate}_images"
    counts = {images: len(evaluation.per_sample)}
    counts |= {f"{images}_{name}": number for name, number in tuning.task.count_predictions(evaluation).items()}
    if tuning.cell.size is not None or tuning.cell.folds is not None:
        train = tuning.target.samples("train")
        different = len(set(tuning.target.drawn or range(len(train))))
        counts |= {"train_images": different, "train_repeats": len(train) - different}
    metrics = {name: float(count) for name, count in counts.items()}
    if evaluation.constant is not None:
        metrics[tuning.task.primary.constant(tuning.protocol.evaluate)] = evaluation.constant
    return metrics


def _evaluate(
    tuning: FineTuning, fabric: Fabric, model: nn.Module, samples: Samples, split: str, *, light: bool = False,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Evaluation:  # fmt: skip
    section, label = tuning.section, f"{split} of finetune {tuning.cell.name}"
    return evaluate(
        fabric, tuning.task, model, samples, tuning.class_names, section.batch_size, section.workers, light, loss, label
    )  # fmt: skip
