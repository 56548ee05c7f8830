"""Losses of image labels against PyTorch on what they are made of, and their options."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from medtransfer.records import IGNORE
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import NEUTRAL
from medtransfer.tasks.label_losses import binary_cross_entropy, cross_entropy, focal

LOGITS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TRUTH = torch.arange(24).reshape(8, 3) % 2
CLASSES = torch.arange(8) % 3


def test_binary_cross_entropy_leaves_unknown_labels_out():
    unknown = TRUTH.clone().float()
    unknown[2:, 0], unknown[0, 1] = IGNORE, 0.7
    known = unknown != IGNORE
    expected = functional.binary_cross_entropy_with_logits(LOGITS[known], unknown[known].double())
    assert binary_cross_entropy(LOGITS, unknown, NEUTRAL).item() == pytest.approx(expected.item())
    assert binary_cross_entropy(LOGITS, torch.full((8, 3), float(IGNORE)), NEUTRAL) == 0


def test_a_single_label_is_two_classes():
    one, truth = LOGITS[:, :1], TRUTH[:, 0]
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    for options in (NEUTRAL, replace(NEUTRAL, class_weights=[1.0, 3.0]), replace(NEUTRAL, label_smoothing=0.2)):
        assert binary_cross_entropy(one, truth, options).item() == pytest.approx(cross_entropy(two, truth, options).item())


def test_weights_of_several_labels_are_those_of_true_ones():
    weighted = replace(NEUTRAL, class_weights=[1.0, 5.0, 0.5])
    weights = torch.where(TRUTH == 1, torch.tensor([1.0, 5.0, 0.5]), torch.ones(3)).double()
    entropy = functional.binary_cross_entropy_with_logits(LOGITS, TRUTH.double(), reduction="none")
    assert binary_cross_entropy(LOGITS, TRUTH, weighted).item() == pytest.approx(((weights * entropy).sum() / weights.sum()).item())


def test_cross_entropy_and_focal_loss():
    weighted = replace(NEUTRAL, class_weights=[1.0, 2.0, 0.5], label_smoothing=0.1)
    expected = functional.cross_entropy(LOGITS, CLASSES, torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.1)
    assert cross_entropy(LOGITS, CLASSES, weighted).item() == pytest.approx(expected.item())
    assert focal(LOGITS, CLASSES, NEUTRAL).item() == pytest.approx(functional.cross_entropy(LOGITS, CLASSES).item())
    one, options = LOGITS[:, :1], replace(NEUTRAL, focal_gamma=2.0)
    published = sigmoid_focal_loss(one[:, 0], TRUTH[:, 0].double(), alpha=-1, gamma=2, reduction="mean")
    assert focal(one, TRUTH[:, 0], options).item() == pytest.approx(published.item())


@pytest.mark.parametrize(
    ("task", "probabilities", "labels"),
    [
        ("binary", [[0.5], [0.51]], [0, 1]),
        ("multilabel", [[0.2, 0.9], [0.6, 0.6]], [[0, 1], [1, 1]]),
        ("multiclass", [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], [1, 0]),
        ("ordinal", [[0.2, 0.3, 0.5]], [2]),
    ],
)
def test_decisions(task, probabilities, labels):
    values = torch.tensor(probabilities)
    decided = TASKS[task].decide(values, TASKS[task].thresholds(values.shape[1]))
    assert decided.dtype == torch.uint8 and decided.tolist() == labels
