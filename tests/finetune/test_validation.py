"""The weights of the best epoch are kept, the earliest of a tie, also over an interruption."""

import pytest
import torch
from torch import nn

from medtransfer.finetune.validation import BestWeights


def marked(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    return layer


@pytest.mark.parametrize(("curve", "best"), [([0.2, 0.5, 0.5, 0.4], 1), ([0.0, 0.0], 0), ([0.1, 0.2, 0.3], 2)])
def test_the_earliest_best_epoch_is_restored(curve, best, tmp_path):
    keeper = BestWeights(tmp_path / "best.safetensors", [])
    for epoch, dice in enumerate(curve):
        keeper.observe(dice, marked(epoch))
    model = marked(-1)
    keeper.restore(model)
    assert model.weight.item() == best


def test_what_was_best_before_an_interruption_stays_best(tmp_path):
    BestWeights(tmp_path / "best.safetensors", []).observe(0.7, marked(1))
    resumed = BestWeights(tmp_path / "best.safetensors", [0.7])
    resumed.observe(0.7, marked(2))
    model = marked(-1)
    resumed.restore(model)
    assert torch.equal(model.weight, marked(1).weight)
