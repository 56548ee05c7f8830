"""Verdict of a guard in plain sentences, which claim no more than the short fine-tunings support."""

import math
from typing import Any

from medtransfer.config.loaded_files import repeated_options
from medtransfer.guard.comparison import Guard
from medtransfer.report.format import percent, signed

MOST_SEEDS = 100  # of a guard, as the params allow


def verdict(guard: Guard) -> list[str]:
    """Return the verdict, a sentence or two per line: each checkpoint, what the interval covers, and what to do next."""
    lines = [_compared(guard, epoch) for epoch in guard.epochs]
    return [*lines, _covered(guard), *_held_out(guard), _caveat(guard), _next(guard)]


def _compared(guard: Guard, epoch: int) -> str:
    metric, compared, limits = guard.metric.label, guard.compared(epoch), guard.interval(epoch)
    low, high = (signed(limit, 4 if abs(limit) < 0.0005 else 3) for limit in limits)
    name = f"epoch {epoch} of {guard.encoder}-{guard.origin}"
    claim = {
        "better": f"{name} is better than no pretraining",
        "worse": f"{name} is worse than no pretraining",
        "undecided": f"undecided whether {name} is better than no pretraining",
    }[compared]
    return (
        f"{claim[0].upper()}{claim[1:]}, after {guard.train_epochs} of {guard.full_epochs} epochs of fine-tuning on "
        f"{guard.target}: validation {metric} {guard.means[epoch]:.3f} against {guard.means[0]:.3f}, a difference of "
        f"{signed(guard.differences[epoch].value)} ({percent(guard.confidence).replace('.0 ', ' ')} interval {low} to {high})."
    ) + _doubt(guard, epoch)


def _doubt(guard: Guard, epoch: int) -> str:
    """Return a sentence, after a space, where neither of two starts learned anything, or more than the same label everywhere."""
    constant = guard.scores.constant
    if not guard.learned(epoch):
        return f" Neither learned anything: both are at most {guard.least:g}."
    if guard.metric.is_poor(max(guard.means[0], guard.means[epoch]), constant):
        return f" Neither is better than the same label in every pixel, which would have {constant:.3f}."
    return ""


def _covered(guard: Guard) -> str:
    several = "; the intervals hold together" if len(guard.epochs) > 1 else ""
    seeds, first = len(guard.seeds), guard.differences[guard.epochs[0]]
    if any(math.isinf(guard.differences[epoch].interval(guard.confidence)[0]) for epoch in guard.epochs):
        return (
            "An interval that covers all differences says that nothing tells how well one is known: all seeds gave the same, as "
            "heads that are solved for do, and no values by patient are known. Fine-tunings with --mode full differ by seed."
        )
    if first.error_over_patients is None:
        why = "there is only one" if guard.patients < 2 else f"{guard.metric.label} is not known by patient"
        covered = f"other seeds of the fine-tuning ({seeds}), but not other patients, since {why}"
    else:
        covered = f"other seeds of the fine-tuning ({seeds}) and other patients ({guard.patients} for validation)"
    return f"The interval covers {covered}; not another pretraining or another random initialisation of the encoder{several}."


def _held_out(guard: Guard) -> list[str]:
    if not guard.held_out:
        return []
    verb = "was" if guard.patients == 1 else "were"
    return [
        f"{guard.target} has no validation samples: {guard.patients} of its training patients {verb} held out. The test set was "
        "not looked at."
    ]


def _caveat(guard: Guard) -> str:
    if guard.train_epochs >= guard.full_epochs:
        return "The schedule is as long as that of the params."
    return "A short fine-tuning says which start learns faster, which need not be the better one in the end."


def _next(guard: Guard) -> str:
    start = f"--target {guard.target} --encoder {guard.encoder} --origin {guard.origin}"
    files = repeated_options()
    both, seeds = ",".join(map(str, (0, *guard.epochs))), ",".join(map(str, guard.seeds))
    full = f"`medtransfer finetune {start} --epoch {both} --mode {guard.mode} --seed {seeds}{files}`"
    if guard.choice is None:
        more = _more(guard, f"{start} --epoch {both[2:]}", files)
        return f"Next: {f'{more} or ' if more else ''}all of them in full, {full}."
    chosen = f"`medtransfer finetune {start} --epoch {guard.choice} --mode {guard.mode}{files}`"
    return f"Next: {chosen}. To be sure for the whole schedule, fine-tune all of them in full: {full}."


def _more(guard: Guard, start: str, files: str) -> str:
    """Propose a longer schedule where nothing was learned, else more seeds, which reuse those that are finished."""
    epochs, seeds = guard.train_epochs, len(guard.seeds)
    if not any(map(guard.learned, guard.epochs)):
        longer = min(2 * epochs, guard.full_epochs)
        why = "a longer schedule" if longer > epochs else ""
        return f"{why}, `medtransfer guard {start} --train-epochs {longer} --seeds {seeds}{files}`;" if why else ""
    more = min(2 * seeds, MOST_SEEDS)
    return f"more seeds, `medtransfer guard {start} --train-epochs {epochs} --seeds {more}{files}`;" if more > seeds else ""


def summary(guard: Guard) -> dict[str, Any]:
    """Return everything that a guard found, as JSON values."""
    rows = []
    for row, epoch in enumerate(guard.epochs, start=1):
        difference, (low, high) = guard.differences[epoch], guard.interval(epoch)
        rows.append(
            {
                "epoch": epoch, "verdict": guard.compared(epoch), "validation": guard.means[epoch], "difference": difference.value,
                "low": low, "high": high, "error_over_seeds": difference.error_over_seeds,
                "error_over_patients": difference.error_over_patients, "by_seed": guard.scores.values[row].tolist(),
            }
        )  # fmt: skip
    none = {"validation": guard.means[0], "by_seed": guard.scores.values[0].tolist()}
    constant = {"constant": guard.scores.constant} if math.isfinite(guard.scores.constant) else {}
    return {
        "target": guard.target, "encoder": guard.encoder, "origin": guard.origin, "mode": guard.mode, "metric": guard.metric.name,
        "train_epochs": guard.train_epochs, "full_epochs": guard.full_epochs, "seeds": list(guard.seeds),
        "patients": guard.patients, "held_out": guard.held_out, "confidence": guard.confidence, "choice": guard.choice,
        "none": none, "checkpoints": rows, **constant,
    }  # fmt: skip
