"""Which models of a study are kept (`finetune.keep`), and the disk that they take."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from medtransfer.config import Params
from medtransfer.finetune.finished import find_finished
from medtransfer.finetune.pruning import prune
from medtransfer.grid.jobs import Job
from medtransfer.metrics.ties import rounded
from medtransfer.modes import MODES
from medtransfer.records import WEIGHTS_FILE, CellName, Result, checkpoint_path, series_folder
from medtransfer.tasks.results import read_result

log = logging.getLogger("medtransfer")


def keep_winners(params: Params, jobs: Sequence[Job]) -> str:
    """Remove the models of a study that has ended, but each target's best; metrics, values per image and runs stay.

    The best cell has the best primary metric on the samples that it was evaluated on, the first of equal ones. Only finished
    results by the params take part, and where the best one has no model any more, none is removed. A cell's result says that its
    model is gone before it goes, so that an interruption loses no result; the next call removes the rest.

    Args:
        params: params of the study; models are removed only if `finetune.keep` is `winner`.
        jobs: all its jobs.

    Returns:
        A sentence, empty if nothing is removed.
    """
    if params.finetune.keep != "winner":
        return ""
    cells = [job.cell for job in jobs if job.cell]
    current = find_finished(params.finetune, cells, Path(params.pretrain.out), Path(params.prepare.out))
    by_target = defaultdict[str, dict[Path, Result]](dict)
    for cell in (cell for cell in cells if cell in current):
        folder = cell.folder(Path(params.finetune.out))
        by_target[cell.target][folder] = read_result(folder / "metrics.json")
    winners, removed = list[str](), 0
    for target, results in by_target.items():
        best = max(results, key=lambda folder: rounded(_primary(results[folder])))
        if not results[best].parts:
            log.warning(
                "grid: the best result on %s, %s, has no model any more, so no other is removed; `finetune --force` trains it "
                "again", target, best,
            )  # fmt: skip
            continue
        winners.append(str(best))
        removed += sum(prune(folder, result) for folder, result in results.items() if folder != best)
    return f"kept {', '.join(winners)}; removed {removed} other models" if winners else ""


def _primary(result: Result) -> float:
    """Return the primary metric, of which higher is better; what is not a number is the worst."""
    value = result.metrics[result.primary]
    return value if value == value else -math.inf


def disk_use(params: Params, jobs: Sequence[Job]) -> str:
    """Say what the models of the study take on disk, from models that exist, else from the encoders of checkpoints."""
    cells = [job.cell for job in jobs if job.cell]
    if params.finetune.keep == "metrics":
        return "Disk: no models are kept (finetune.keep: metrics)."
    groups = defaultdict[tuple[str, str], list[CellName]](list)
    for cell in cells:
        groups[cell.encoder, cell.mode].append(cell)
    sizes = {group: _size(params, some) for group, some in groups.items()}
    if unknown := [f"{encoder} {mode}" for (encoder, mode), (size, _) in sizes.items() if size is None]:
        return f"Disk: unknown until the first model or checkpoint of {', '.join(unknown)} exists."
    total = sum(len(groups[group]) * (size or 0) for group, (size, _) in sizes.items())
    least = "" if all(measured for _, measured in sizes.values()) else "at least "
    text = f"Disk: {len(cells):,} models, {least}{_bytes(total)}"
    if params.finetune.keep == "winner":
        largest: Mapping[str, float] = {
            target: max(sizes[cell.encoder, cell.mode][0] or 0 for cell in cells if cell.target == target)
            for target in dict.fromkeys(cell.target for cell in cells)
        }
        text += f", until the grid has ended; then {len(largest)}, at most {_bytes(sum(largest.values()))}"
    return f"{text} (finetune.keep: {params.finetune.keep})."


def _size(params: Params, cells: Sequence[CellName]) -> tuple[float | None, bool]:
    """Return bytes of a model, and whether a model was measured; without one it is at least its checkpoint's encoder."""
    files = (cell.folder(Path(params.finetune.out)) / WEIGHTS_FILE for cell in cells)
    if sizes := [file.stat().st_size for file in files if file.exists()]:
        return fmean(sizes), True
    if MODES[cells[0].mode].encoder_frozen:
        return None, False
    for cell in cells:
        record = checkpoint_path(series_folder(Path(params.pretrain.out), cell.encoder, cell.origin), cell.epoch)
        weights = record.with_suffix(".safetensors")
        if weights.exists():
            return float(weights.stat().st_size), False
    return None, False


def _bytes(number: float) -> str:
    unit, divisor = next(((unit, size) for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if number >= size), ("kB", 1e3))
    return f"{number / divisor:.3g} {unit}"
