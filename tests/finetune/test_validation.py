"""The weights of the best epoch are kept, the earliest of a tie, also over an interruption."""

from fractions import Fraction
from pathlib import Path

import pytest
from torch import nn

from medtransfer.finetune.validation import BestWeights, Validation


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


@pytest.mark.parametrize(
    ("curve", "every", "patience", "trained", "best"),
    [
        ([0.1, 0.5, 0.4, 0.3, 0.6, 0.2], 1, None, 6, 5),
        ([0.1, 0.5, 0.4, 0.3, 0.6, 0.2], 1, 3, 6, 5),
        ([0.1, 0.5, 0.4, 0.3, 0.6, 0.2], 1, 2, 4, 2),  # 2 epochs after the best one
        ([0.5, 0.5, 0.5, 0.9, 0.9, 0.9], 1, 2, 3, 1),  # a tie is not better
        ([0.0, 0.3, 0.0, 0.2, 0.0, 0.9], 2, 2, 4, 2),  # measured after epochs 2, 4 and 6
        ([0.0, 0.3, 0.0, 0.2, 0.0, 0.9], 2, 3, 6, 6),
        ([0.0, 0.0, 0.0, 0.2, 0.0, 0.1], 4, 2, 6, 4),  # and after the last
        ([0.0, 0.0, 0.0, 0.2, 0.0, 0.1], 9, 1, 6, 6),
    ],
)
def test_patience_by_hand_also_over_an_interruption(curve, every, patience, trained, best, tmp_path):
    for interrupted in (0, 1, 2, 3, 4, 5):
        now, seen = [0], list[float | None]()

        def begin(seen=seen, now=now):
            return Validation(
                "v", lambda: {"v": curve[now[0] - 1]}, marked(1), epochs=6, every=every, patience=patience, best=None, earlier=seen
            )

        validation = begin()
        for epoch in range(1, 7):
            if validation.stops():
                break
            now[0] = epoch
            seen.append(validation.values(epoch).get("v"))
            if epoch == interrupted:
                validation = begin()
        assert (len(seen), validation.best_epoch) == (trained, best)
        assert [value is not None for value in seen] == [n % every == 0 or n == 6 for n in range(1, trained + 1)]
        expected = {} if patience is None else {"best_epoch": best, "trained_epochs": trained}
        assert validation.record(len(seen)) == expected


@pytest.mark.parametrize("interrupted", [0, 2, 3, 5])
def test_of_losses_the_lowest_is_the_best_and_lowers_the_rate(interrupted: int, tmp_path: Path) -> None:
    losses, seen = [0.9, 0.5, 0.7, 0.6, 0.8], list[float | None]()

    def begin(model: nn.Module) -> Validation:
        measure = lambda: {"validation_auc": 0.5, "validation_loss": losses[len(seen)]}  # noqa: E731
        best = tmp_path / "best.safetensors"
        return Validation("validation_loss", measure, model, epochs=9, every=1, patience=3, best=best, earlier=seen)

    validation = begin(marked(1))
    for epoch in range(1, 6):
        assert not validation.stops()
        validation.model = marked(epoch)
        values = validation.values(epoch)
        assert values == {"validation_auc": 0.5, "validation_loss": losses[epoch - 1]}
        seen.append(values["validation_loss"])
        if epoch == interrupted:
            validation = begin(marked(epoch))
    assert validation.stops() and validation.best_epoch == 2
    assert validation.rate(0.1, 1) == pytest.approx(0.1) and validation.rate(0.1, 3) == 1
    validation.restore()
    assert validation.model.weight.item() == 2


def test_without_validation_samples_nothing_is_measured():
    validation = Validation("v", None, marked(1), epochs=2, every=1, patience=None, best=None, earlier=[])
    assert validation.values(1) == {} and not validation.stops() and validation.record(2) == {}


@pytest.mark.parametrize("interrupted", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("monitored", ["validation_auc", "validation_loss"])
def test_equal_means_tie_whatever_their_last_bits(monitored: str, interrupted: int, tmp_path: Path) -> None:
    """The AUCs of three classes, whose mean as a fraction is 17/18 three times; as losses in the other order."""
    first, low, high = ("1/2", "1/2", "1/2"), ("8/9", "17/18", "1"), ("1", "1", "5/6")
    parts = [first, low, high, low] if monitored == "validation_auc" else [("1", "1", "1"), high, low, high]
    assert [sum(map(Fraction, epoch)) / 3 for epoch in parts[1:]] == [Fraction(17, 18)] * 3
    curve, seen = [sum(float(Fraction(part)) for part in epoch) / 3 for epoch in parts], list[float]()
    assert curve[1] != curve[2]

    def begin(model: nn.Module) -> Validation:
        measure, best = (lambda: {monitored: curve[len(seen)]}), tmp_path / "best.safetensors"
        return Validation(monitored, measure, model, epochs=9, every=1, patience=2, best=best, earlier=seen)

    validation = begin(marked(1))
    for epoch in range(1, 5):
        assert not validation.stops()
        validation.model = marked(epoch)
        seen.append(validation.values(epoch)[monitored])
        if epoch == interrupted:
            validation = begin(marked(epoch))
    assert seen == curve  # recorded as they are
    assert validation.stops() and validation.best_epoch == 2
    validation.restore()
    assert validation.model.weight.item() == 2
