"""Every mode of transfer trains the parts that it names, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import medtransfer
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import freeze_all_but
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.modes import MODES

PARTS = {"encoder", "decoder"}


@pytest.mark.parametrize("trained", [*(mode.trains for mode in MODES.values()), {"encoder"}], ids=[*MODES, "encoder"])
def test_a_mode_trains_the_parts_that_it_names(trained):
    model = build_segmenter(build_encoder("unet", width=4, depth=3), 2)
    freeze_all_but(model, trained)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=1.0)
    model(torch.randn(2, 3, 16, 16)).square().mean().backward()
    optimiser.step()
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == trained <= PARTS


def test_features_are_pooled_where_the_encoder_stays():
    """Section 6 of the paper; the other rules pool for every mode or for none."""
    for name, mode in MODES.items():
        assert mode.encoder_frozen == ("encoder" not in mode.trains)
        assert [POOLED[rule][name] for rule in ("frozen", "always", "never")] == [mode.encoder_frozen, True, False]
    kinds = {(mode.trains, mode.solved, mode.head, mode.starts) for mode in MODES.values()}
    assert len(kinds) == len({mode.label for mode in MODES.values()}) == len(MODES)


def test_names_of_tasks_and_modes_are_known_without_heavy_libraries():
    code = "import sys, medtransfer.tasks, medtransfer.modes; print({'torch', 'mlflow', 'matplotlib'} & set(sys.modules))"
    paths = {**os.environ, "PYTHONPATH": str(Path(medtransfer.__file__).parents[1])}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=paths).stdout
    assert output == "set()\n"
