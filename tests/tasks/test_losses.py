"""The Dice loss against its published value, a plain loop over the formula, and its limits."""

import pytest
import torch
from sklearn.metrics import log_loss

from medtransfer.records import IGNORE
from medtransfer.tasks.losses import cross_entropy_loss, dice_loss
from medtransfer.tasks.segmentation import Segmentation


def by_hand(probabilities: torch.Tensor, truth: torch.Tensor) -> float:
    """A.2 written out, probabilities of all classes (N, K, H, W)."""
    shares = []
    for c in range(probabilities.shape[1]):
        p, y = probabilities[:, c].flatten().tolist(), (truth == c).flatten().tolist()
        product = sum(a * b for a, b in zip(p, y, strict=True))
        shares.append((2 * product + 1e-5) / (sum(a * a for a in p) + sum(y) + 1e-5))
    return 1 - sum(shares) / len(shares)


def fixture() -> tuple[torch.Tensor, torch.Tensor]:
    k = torch.arange(32, dtype=torch.float64)
    return torch.sin(0.9 * k).view(2, 1, 4, 4), (torch.cos(0.5 * k) > 0.3).view(2, 4, 4).to(torch.uint8)


def test_binary_is_the_two_class_softmax_of_its_logits():
    logits, truth = fixture()
    p = torch.sigmoid(logits)
    assert dice_loss(logits, truth, 1).item() == pytest.approx(by_hand(torch.cat([1 - p, p], 1), truth))
    assert dice_loss(logits, truth, 1).item() == pytest.approx(0.3908062906, abs=1e-10)  # over the batch


def test_classes_and_background_count_alike():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 3, (3, 5, 6), generator=generator)  # class 3 never occurs
    found = dice_loss(logits, truth, 3).item()
    assert found == pytest.approx(by_hand(torch.softmax(logits, 1), truth))
    shuffled = torch.tensor([2, 0, 1])
    assert dice_loss(logits[shuffled], truth[shuffled], 3).item() == pytest.approx(found)


@pytest.mark.parametrize("classes", [1, 3])
def test_limits(classes):
    truth = torch.arange(16).view(1, 4, 4) % (classes + 1)
    right = 60 * torch.nn.functional.one_hot(truth, classes + 1).movedim(-1, 1).float() - 30
    right = right[:, 1:] if classes == 1 else right
    assert dice_loss(right, truth, classes).item() == pytest.approx(0, abs=1e-5)
    if classes == 1:
        assert dice_loss(-right, truth, classes).item() == pytest.approx(1, abs=1e-5)
        empty = torch.zeros(2, 3, 3, dtype=torch.uint8)  # and not predicted
        assert dice_loss(torch.full((2, 1, 3, 3), -30.0), empty, classes).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [1, 3])
def test_ignored_pixels_are_as_if_they_were_not_there(classes):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 1 if classes == 1 else 4, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, classes + 1, (2, 4, 6), generator=generator).to(torch.uint8)
    left = torch.sigmoid(torch.cat([-logits, logits], 1)) if classes == 1 else torch.softmax(logits, 1)
    expected = by_hand(left[..., :4], truth[..., :4])
    truth[..., 4:] = 255
    loss = dice_loss(logits, truth, classes)
    assert loss.item() == pytest.approx(expected)
    alone = cross_entropy_loss(logits[..., :4], truth[..., :4])
    assert cross_entropy_loss(logits, truth).item() == pytest.approx(alone.item())
    (loss + cross_entropy_loss(logits, truth)).backward()
    assert not logits.grad[..., 4:].any() and logits.grad[..., :4].all()


@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_equal_finite_differences(classes):
    generator = torch.Generator().manual_seed(1)
    shape = (2, 1 if classes == 1 else classes + 1, 3, 3)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, classes + 1, (2, 3, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, truth, classes), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_float32_even_under_autocast(dtype):
    logits, truth = fixture()
    low = logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = dice_loss(low, truth, 1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(dice_loss(low.double(), truth, 1).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "truth", "classes"),
    [((2, 2, 4, 4), (2, 4, 4), 1), ((2, 3, 4, 4), (2, 4, 4), 3), ((2, 1, 4, 4), (2, 1, 4, 4), 1)],
)
def test_other_shapes_are_refused(logits, truth, classes):
    with pytest.raises(ValueError, match="expected logits"):
        dice_loss(torch.zeros(logits), torch.zeros(truth).long(), classes)


@pytest.mark.parametrize("classes", [1, 3])
def test_dice_and_cross_entropy_add_up(classes):
    """The cross-entropy is scikit-learn's, of the probabilities of every pixel."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 1 if classes == 1 else classes + 1, 4, 4, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, classes + 1, (2, 4, 4), generator=generator).to(torch.uint8)
    p = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if classes == 1 else logits.softmax(1)
    pixels = p.movedim(1, -1).reshape(-1, classes + 1).numpy()
    expected = by_hand(p, truth) + log_loss(truth.flatten().numpy(), pixels, labels=range(classes + 1))
    assert Segmentation().loss(logits, truth, "dice-ce").item() == pytest.approx(expected)
    assert Segmentation().loss(logits, truth).item() == pytest.approx(by_hand(p, truth))
    ignored = truth.clone()
    ignored[:, 2:] = IGNORE
    half = (logits[:, :, :2], truth[:, :2])
    assert Segmentation().loss(logits, ignored, "dice-ce").item() == pytest.approx(Segmentation().loss(*half, "dice-ce").item())
    assert cross_entropy_loss(logits, torch.full_like(truth, IGNORE)).item() == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert Segmentation().loss(logits.bfloat16(), truth, "dice-ce").dtype == torch.float32
