"""The weights of the best epoch are kept, the earliest of a tie, also over an interruption."""

import pytest
from torch import nn

from medtransfer.finetune.validation import BestWeights


def marked(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    return layer


@pytest.mark.parametrize(("curve", "best"), [([0.2, 0.5, 0.5, 0.4], 1), ([0.0, 0.0], 0), ([0.1, 0.2, 0.3], 2)])
@pytest.mark.parametrize("interrupted", [False, True])
def test_the_earliest_best_epoch_is_restored(curve, best, interrupted, tmp_path):
    keeper = BestWeights(tmp_path / "best.safetensors", [])
    for epoch, dice in enumerate(curve):
        if interrupted:
            keeper = BestWeights(tmp_path / "best.safetensors", curve[:epoch])
        keeper.observe(dice, marked(epoch))
    model = marked(-1)
    keeper.restore(model)
    assert model.weight.item() == best
