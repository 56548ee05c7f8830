"""A fine-tuning with a schedule of its own."""

import pytest

from medtransfer import study
from medtransfer.records import CellName
from medtransfer.tryouts.training import Training


@pytest.mark.parametrize(("epochs", "warmup"), [(20, 3), (10, 1), (3, 0), (40, 6)])
def test_the_warm_up_is_shortened_with_the_schedule(epochs, warmup, tiny_params, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "finetune", lambda params, cells: seen.append((params.finetune, cells)))
    cell = CellName("sample", "unet", "simple", 1, "full", 7)
    params = tiny_params({"finetune.train_epochs": 20, "finetune.warmup": 3})
    Training(cell, epochs, (("evaluate", "validation"),)).run(params)
    ((section, cells),) = seen
    assert (section.train_epochs, section.warmup, section.evaluate, cells) == (epochs, warmup, "validation", [cell])
