"""A fine-tuning with a schedule of its own."""

import pytest

from medtransfer import study
from medtransfer.errors import InputError
from medtransfer.grid.worker import DONE, Outcome
from medtransfer.records import CellName
from medtransfer.tryouts.training import Progress, Training
from medtransfer.tryouts.validation import one_portion, open_validated, recorded_portion


@pytest.mark.parametrize(("epochs", "warmup"), [(20, 3), (10, 1), (3, 0), (40, 6)])
def test_the_warm_up_is_shortened_with_the_schedule(epochs, warmup, tiny_params, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "finetune", lambda params, cells: seen.append((params.finetune, cells)))
    cell = CellName("sample", "unet", "simple", 1, "full", 7)
    params = tiny_params({"finetune.train_epochs": 20, "finetune.warmup": 3})
    Training(cell, epochs, (("evaluate", "validation"),)).run(params)
    ((section, cells),) = seen
    assert (section.train_epochs, section.warmup, section.evaluate, cells) == (epochs, warmup, "validation", [cell])


CELLS = [Training(CellName("sample", "unet", "simple", 1, "full", seed), 10, ()) for seed in range(4)]


@pytest.fixture
def now(monkeypatch):
    """A stopped clock; a test moves its only entry."""
    clock = [0.0]
    monkeypatch.setattr("medtransfer.progress.time.monotonic", lambda: clock[0])
    return clock


def test_a_log_gets_sparse_lines_of_epochs(now, caplog):
    progress = Progress("race", 40)
    with caplog.at_level("INFO", logger="medtransfer"):
        for cell, seconds in zip(CELLS, (1.0, 20.0, 21.0, 40.0), strict=True):
            now[0] = seconds
            progress.finish(cell, Outcome(DONE, "", 1.0))
    progress.tally.close()
    assert caplog.messages == ["race: 20/40 epochs, 1.0/s, 20 s left"]


def test_reused_epochs_and_tests_say_nothing_about_the_pace(now, caplog):
    progress = Progress("race", 40)
    with caplog.at_level("INFO", logger="medtransfer"):
        progress.reuse(CELLS[:2])
        now[0] = 20.0
        progress.finish(CELLS[2], Outcome(DONE, "", 1.0))
        progress.counts, now[0] = False, 40.0
        progress.finish(CELLS[3], Outcome(DONE, "", 1.0))
        progress.reuse(CELLS)
    progress.tally.close()
    assert caplog.messages == ["race: 30/40 epochs, 0.5/s, 20 s left"]


def test_the_start_of_workers_says_nothing_about_the_pace(now, caplog):
    progress = Progress("race", 40)
    with caplog.at_level("INFO", logger="medtransfer"):
        now[0] = 100.0
        progress.begin(CELLS[:2])
        for cell, now[0] in zip(CELLS, (119.0, 120.0), strict=False):
            progress.finish(cell, Outcome(DONE, "", 1.0))
    progress.tally.close()
    assert caplog.messages == ["race: 20/40 epochs, 1.0/s, 20 s left"]


def test_tryouts_validate_on_one_fold(workplace, tiny_params):
    portion = {"finetune.size": 6, "finetune.folds": 2}
    with pytest.raises(InputError, match="expected finetune.fold, from 1 to 2, .* name a fold"):
        one_portion(tiny_params(portion))
    params = tiny_params({**portion, "finetune.fold": 2})
    assert one_portion(params) == recorded_portion(params) == {"size": 6, "fold": 2, "folds": 2}
    assert recorded_portion(tiny_params()) == {}
    held = [open_validated(tiny_params({**portion, "finetune.fold": fold}), "sample", 0.5) for fold in (1, 2)]
    first, second = (set(target.samples("validation")["group"]) for target, _ in held)
    assert not first & second and first | second == set(study.prepare(tiny_params()).samples("train")["group"])
    assert [share for _, share in held] == [0.0, 0.0]
