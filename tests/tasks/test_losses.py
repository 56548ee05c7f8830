"""The Dice loss against its published value, a plain loop over the formula, and its limits."""

import math
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import log_loss
from torchvision.ops import sigmoid_focal_loss

from medtransfer.records import IGNORE
from medtransfer.tasks.contract import NEUTRAL
from medtransfer.tasks.losses import LOSSES, cross_entropy_loss, dice_loss, focal_loss, soft_dice_loss, tversky_loss
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


def drawn(classes: int, seed: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return random logits, their probabilities of background and classes, and labels; the lower half is to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 1 if classes == 1 else classes + 1, 4, 4, generator=generator, dtype=torch.float64)
    p = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if classes == 1 else logits.softmax(1)
    truth = torch.randint(0, classes + 1, (2, 4, 4), generator=generator).to(torch.uint8)
    truth[:, 2:] = IGNORE
    return logits, p[:, :, :2], truth


def pixels_of(p: torch.Tensor, truth: torch.Tensor) -> list[tuple[list[float], int]]:
    """Return the probabilities and the label of every pixel that counts."""
    return list(zip(p.movedim(1, -1).reshape(-1, p.shape[1]).tolist(), truth[:, :2].flatten().tolist(), strict=True))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_the_focal_loss_of_one_class_is_torchvisions(gamma, alpha):
    logits, _, truth = drawn(1)
    weights = None if alpha is None else [1 - alpha, alpha]
    expected = sigmoid_focal_loss(logits[:, 0, :2], truth[:, :2].double(), -1 if alpha is None else alpha, gamma, "mean")
    assert focal_loss(logits, truth, gamma=gamma, weights=weights).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 0.0]])
def test_the_focal_loss_of_several_classes_by_hand(weights):
    logits, p, truth = drawn(3)
    values = [(weights or [1] * 4)[y] * (1 - q[y]) ** 1.5 * -math.log(q[y]) for q, y in pixels_of(p, truth)]
    assert focal_loss(logits, truth, gamma=1.5, weights=weights).item() == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_has_finite_gradients_where_all_is_right_wrong_or_ignored(gamma):
    logits = torch.tensor([200.0, -200.0, 200.0, 0.0]).view(1, 1, 1, 4).requires_grad_()
    loss = focal_loss(logits, torch.tensor([1, 1, 0, IGNORE]).view(1, 1, 4), gamma=gamma)
    loss.backward()
    assert loss.item() == pytest.approx(400 / 3) and logits.grad.isfinite().all() and logits.grad[..., 3] == 0
    assert focal_loss(logits, torch.full((1, 1, 4), IGNORE), gamma=gamma).item() == 0


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_tversky_loss_by_hand(classes, weighted):
    """TP, FP and FN summed pixel by pixel; without weights over the classes, not the background."""
    logits, p, truth = drawn(classes)
    weights = [0.5, 2.0, 1.0, 0.0][: classes + 1] if weighted else [0.0] + [1.0] * classes
    scores = []
    for c in range(classes + 1):
        pixels = pixels_of(p, truth)
        tp, fp, fn = sum(q[c] for q, y in pixels if y == c), sum(q[c] for q, y in pixels if y != c), 0.0
        fn = sum(1 - q[c] for q, y in pixels if y == c)
        scores.append((tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5))
    expected = 1 - sum(w * score for w, score in zip(weights, scores, strict=True)) / sum(weights)
    found = tversky_loss(logits, truth, classes, alpha=0.3, beta=0.7, weights=weights if weighted else None)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_soft_dice_loss_by_hand(classes: int, weighted: bool) -> None:
    """The published loss, 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1) over the flattened batch, class by class."""
    logits, p, truth = drawn(classes)
    weights = [0.5, 2.0, 1.0, 0.0][: classes + 1] if weighted else [0.0] + [1.0] * classes
    pixels, scores = pixels_of(p, truth), []
    for c in range(classes + 1):
        both = sum(q[c] for q, y in pixels if y == c)
        scores.append((2 * both + 1) / (sum(q[c] for q, _ in pixels) + sum(y == c for _, y in pixels) + 1))
    expected = 1 - sum(w * score for w, score in zip(weights, scores, strict=True)) / sum(weights)
    found = soft_dice_loss(logits, truth, classes, weights if weighted else None)
    assert found.item() == pytest.approx(expected)


def test_the_tversky_loss_of_hand_made_masks():
    """Two of four pixels are true; of the two that are predicted one is right: TP = FP = FN = 1."""
    truth, logits = torch.tensor([[[1, 1, 0, 0]]]), 60 * (torch.tensor([[[[1.0, 0, 1, 0]]]]) - 0.5)
    for alpha, beta, expected in ((0.5, 0.5, 0.5), (0.3, 0.7, 0.5), (1.0, 1.0, 2 / 3), (0.0, 1.0, 0.5), (0.0, 0.0, 0.0)):
        assert tversky_loss(logits, truth, 1, alpha=alpha, beta=beta).item() == pytest.approx(expected, abs=1e-4)
    nothing = torch.zeros_like(truth)
    assert tversky_loss(torch.full_like(logits, -60), nothing, 1, alpha=0.3, beta=0.7).item() == pytest.approx(0)
    assert tversky_loss(logits, nothing, 1, alpha=0.3, beta=0.7).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("classes", [1, 3])
def test_class_weights_of_dice_and_cross_entropy(classes):
    """A.2 class by class, and the sample weights of scikit-learn."""
    logits, p, truth = drawn(classes)
    half, weights = truth[:, :2], [0.5, 2.0, 1.0, 0.0][: classes + 1]
    each = [1 - by_hand(torch.stack([p[:, c], p[:, c]], 1), (half != c).to(torch.uint8) * 2) for c in range(classes + 1)]
    ones = [2 * share - (1e-5) / ((p[:, c] ** 2).sum().item() + 1e-5) for c, share in enumerate(each)]  # by_hand's second is empty
    expected = 1 - sum(w * one for w, one in zip(weights, ones, strict=True)) / sum(weights)
    assert dice_loss(logits, truth, classes, weights).item() == pytest.approx(expected)
    labels = half.flatten().numpy()
    sample = [weights[label] for label in labels]
    pixels = p.movedim(1, -1).reshape(-1, classes + 1).numpy()
    entropy = log_loss(labels, pixels, labels=range(classes + 1), sample_weight=sample)
    assert cross_entropy_loss(logits, truth, weights).item() == pytest.approx(entropy)
    assert cross_entropy_loss(logits, torch.full_like(truth, IGNORE), weights).item() == 0


def test_every_named_loss_exists_and_takes_its_options():
    assert tuple(LOSSES) == Segmentation.losses
    logits, _, truth = drawn(3)
    task = Segmentation()
    assert task.loss(logits, truth, "focal").item() == pytest.approx(cross_entropy_loss(logits, truth).item())
    dice = task.loss(logits, truth).item()
    for name in LOSSES:
        plain = task.loss(logits, truth, name).item()
        assert task.loss(logits, truth, name, replace(NEUTRAL, class_weights=[0.1, 1, 5, 2])).item() != plain
        assert (task.loss(logits, truth, name, replace(NEUTRAL, focal_gamma=2.0)).item() != plain) == ("focal" in name)
        assert (task.loss(logits, truth, name, replace(NEUTRAL, tversky_beta=0.9)).item() != plain) == (name == "tversky")
    combined = task.loss(logits, truth, "dice-focal").item()
    assert combined == pytest.approx(dice + cross_entropy_loss(logits, truth).item())
