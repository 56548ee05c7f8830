"""Stage `finetune`: fine-tune a list of cells, each to a trained model, a record and a finished run."""

import logging
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from statistics import median

from medtransfer import tracking
from medtransfer.config import Finetune
from medtransfer.environment import require_device
from medtransfer.finetune.cell import complete
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.finetune.finished import cell_of, is_complete
from medtransfer.finetune.portions import Portions
from medtransfer.finetune.protocol import Protocol
from medtransfer.finetune.targets import check_mode, check_samples, open_target
from medtransfer.modes import MODES, require_decoder
from medtransfer.progress import loading
from medtransfer.records import CellName, PreparedTarget, Result, find_checkpoint, series_folder
from medtransfer.tasks.contract import Metric
from medtransfer.wording import duration

log = logging.getLogger("medtransfer")
ALIKE = 0.95  # share of the images that are called the same from which it is said
REMEDY = "raise finetune.train_epochs, try another finetune.lr, or lower finetune.batch_size"
SOLVED = "fine-tune in the mode full, or start from another checkpoint"  # of a head that no training makes better


def run(section: Finetune, cells: Iterable[CellName], checkpoints: Path, prepared: Path, force: bool = False) -> list[Result]:
    """Fine-tune every cell, or reuse its finished result.

    Args:
        section: validated params; its cell fields are ignored.
        cells: cells to fine-tune.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
        force: whether to train finished cells again.

    Returns:
        The results, in the order of `cells`.
    """
    tunings = _prepare(section, list(cells), checkpoints, prepared)
    results, spent, out = list[Result](), list[float](), Path(section.out)
    several = tunings if len(tunings) > 1 else []
    left = {tuning.cell.key for tuning in several if force or not is_complete(tuning.cell, out, tuning.target.info)}
    if len(left) > 1:
        require_device(section.accelerator, section.precision)
        with loading("finetune"):  # not in the time of the first cell
            import_module("medtransfer.finetune.train")
    # A run that `mlflow run` opened becomes the run of a single cell, but not of one among several: its params may be lists.
    with tracking.project_run_set_aside() if len(tunings) > 1 else nullcontext():
        for number, tuning in enumerate(tunings, start=1):
            begin = time.monotonic()
            result, reused = complete(tuning, force)
            spent += [] if reused else [time.monotonic() - begin]
            left.discard(tuning.cell.key)
            metric, remedy = tuning.task.primary, SOLVED if MODES[tuning.cell.mode].solved else REMEDY
            if tuning.task.linear:
                classes = tuning.task.weighted(tuning.class_names)
                note, alarming = _note_poor_labels(result.metrics, metric, classes, tuning.protocol.evaluate, remedy)
            else:
                note, alarming = _note_poor_masks(result.metrics, metric, tuning.protocol.evaluate, remedy)
            time_left = "" if reused else _note_time(spent, len(left))
            log.log(
                logging.WARNING if alarming else logging.INFO, "finetune %d/%d %s: %s%s %.4f%s%s%s", number, len(tunings),
                tuning.cell.name, "validation " * (tuning.protocol.evaluate == "validation"), metric.label,
                result.metrics[metric.name], _note_regions(tuning.target.info.regions), time_left, note,
            )  # fmt: skip
            results.append(result)
    return results


def _note_time(spent: Sequence[float], left: int) -> str:
    """Return a clause about the time that the cells left take, by the seconds that others took."""
    return f" (about {duration(left * median(spent))} left)" if spent and left else ""


def _note_regions(regions: Collection[str]) -> str:
    """Return a clause about regions, which the metric is the mean over."""
    return f" (mean over the regions {', '.join(regions)})" if regions else ""


def _note_poor_labels(
    metrics: Mapping[str, float], metric: Metric, classes: Sequence[str], split: str = "test", remedy: str = REMEDY
) -> tuple[str, bool]:  # fmt: skip
    """Return a clause about labels that are no better than chance, or one for nearly all images, and whether there is any."""
    clauses = [f", no better than chance ({metric.chance:g})"] if metrics[metric.name] <= metric.chance else []
    images, most, true = (int(metrics.get(f"{split}_images{end}", 0)) for end in ("", "_predicted_commonest", "_truly_commonest"))
    if most >= ALIKE * images and 2 * (images - most) < images - true:  # others are rarely predicted, though not that rare
        name = classes[int(metrics[f"{split}_images_commonest_class"])]
        clauses.append(f", calls {most} of {images} {split} images {name} ({true} are)")
    return (f"{''.join(clauses)}; {remedy}", True) if clauses else ("", False)


def _note_poor_masks(
    metrics: Mapping[str, float], metric: Metric, split: str = "test", remedy: str = REMEDY
) -> tuple[str, bool]:  # fmt: skip
    """Return a clause about masks without foreground, and about those no better than a constant one, and whether to warn.

    No foreground is worth a warning where most images that show some are among those without; the other is one on test images,
    since on validation images models are tried by short schedules, too.
    """
    images, empty, true = (int(metrics.get(f"{split}_images{end}", 0)) for end in ("", "_predicted_empty", "_truly_empty"))
    clause = f", predicts no foreground in {empty} of {images} {split} images" if empty else ""
    clause += f" ({true} show none)" if empty and true else ""
    constant = metrics.get(metric.constant(split), -math.inf)
    if poor := metric.is_poor(metrics[metric.name], constant):
        clause = f", no better than the same label in every pixel ({constant:.4f}){clause}"
    alarming = (poor and split == "test") or 2 * (empty - true) > images - true
    return f"{clause}; {remedy}" if alarming else clause, alarming


def _prepare(section: Finetune, cells: list[CellName], checkpoints: Path, prepared: Path) -> list[FineTuning]:
    """Open every target and look up every checkpoint once, and check that encoders accept the sizes of their targets."""
    protocol = Protocol.of(section)
    opened = {name: open_target(prepared / name, protocol).verify() for name in dict.fromkeys(cell.target for cell in cells)}
    targets = {name: Portions(target, protocol) for name, target in opened.items()}
    checked = dict[int, PreparedTarget]()
    names = dict.fromkeys((cell.encoder, cell.origin, cell.epoch) for cell in cells)
    infos = {name: find_checkpoint(series_folder(checkpoints, *name[:2]), name[2]) for name in names}
    tunings = []
    for cell in cells:
        target, (path, info) = targets[cell.target].of(cell), infos[cell.encoder, cell.origin, cell.epoch]
        if id(target) not in checked:
            check_samples(target, protocol)
            checked[id(target)] = target
        target.require_size(info.multiple, info.encoder)
        check_mode(cell, target)
        if MODES[cell.mode].decoder_transferred:
            require_decoder(info.parts, str(path))
        full = cell_of(cell, protocol.key, target.info, info)
        tunings.append(FineTuning(full, section, protocol, target, path, info))
    return tunings
