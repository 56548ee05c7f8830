"""Score of gradients: its two factors by brute force, and what has none."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from tests.published_features import TALL
from torch import Tensor, nn

from medtransfer.encoders.contract import Encoder, Level
from medtransfer.indicators.contract import Options, ViewSettings
from medtransfer.indicators.gradients import Gradients
from medtransfer.indicators.neighbourhood import neighbourhood
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.samples.first_gradients import GradientNorms, first_layers, triplet_loss
from medtransfer.indicators.streamed_pass import measure


class TwoConvolutions(Encoder):
    """A map of stride 8 after two convolutions without padding."""

    name, initialisation = "two", "he"

    def __init__(self, layers: int = 2, channels: int = 4) -> None:
        super().__init__({}, [Level(8, channels)], 8)
        sizes = ((3, 5, 4), (5, channels, 2))[:layers]
        self.layers = nn.Sequential(*(nn.Conv2d(i, o, k, k) for i, o, k in sizes))

    def maps(self, x: Tensor) -> list[Tensor]:
        return [self.layers(x)]


def score(encoder: Encoder, target, batch_size: int = 4):
    options = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (0.5,), 60)
    return measure(
        [Gradients()], encoder, target, ViewSettings("train", None, 4, 1, "random", "32-true"), options,
        contract={"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}, batch_size=batch_size, device=torch.device("cpu"),
        autocast=nullcontext, label="test",
    )["gradients"]  # fmt: skip


def loss_of_loops(embeddings: Tensor, labels: list[int]) -> Tensor:
    units = [x / x.norm() for x in embeddings]
    apart = [[(x - y).norm() for y in units] for x in units]
    losses = []
    for a, row in enumerate(apart):
        for positive in (row[p] for p in range(len(units)) if p != a and labels[p] == labels[a]):
            losses += [positive - row[n] + 0.05 for n in range(len(units)) if labels[n] != labels[a]]
    violated = [loss for loss in losses if loss > 0]
    return torch.stack(violated).mean() if violated else torch.zeros(())


def test_triplet_loss_equals_loops():
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(9, 4, generator=generator), [0, 1, 2, 0, 1, 2, 0, 0, 1]
    assert triplet_loss(x, torch.tensor(labels)) == pytest.approx(float(loss_of_loops(x, labels)), rel=1e-5)
    apart = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]], requires_grad=True)
    assert triplet_loss(apart, torch.tensor([0, 0, 1, 1])) == 0
    triplet_loss(apart, torch.tensor([0, 1, 0, 1])).backward()
    assert apart.grad.isfinite().all()  # although two directions are equal


def test_ratio_equals_autograd_through_both_layers(make_target):
    """A quarter of 4x4 cells is class 1, another class 2, the others background: 64 pixels at most are all 16."""
    target, encoder = make_target(3), TwoConvolutions()
    measured = score(encoder, target)
    labels = [int(y < 2 and x < 2) + 2 * int(y >= 2 and x >= 2) for y in range(4) for x in range(4)]
    norms = []
    for image in target.images:
        x = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
        loss = loss_of_loops(encoder(x)[0][0].flatten(1).T, labels)
        encoder.zero_grad()
        loss.backward()
        norms.append([float(layer.weight.grad.norm()) for layer in encoder.layers])
    ratio = measured.value({"level": -1, "pixels": 60, "term": "ratio"})
    assert ratio == pytest.approx(np.mean(norms, axis=0)[1] / np.mean(norms, axis=0)[0], rel=1e-4)
    posterior = measured.value({"level": -1, "pixels": 60, "term": "posterior"})
    assert measured.scores[0].number == pytest.approx(ratio * posterior)
    assert all(parameter.grad is not None for parameter in encoder.parameters())  # those of this test, untouched
    cut = score(encoder, target, batch_size=2).value({"level": -1, "pixels": 60, "term": "ratio"})
    assert cut == pytest.approx(ratio, rel=1e-6)  # rounding moves what NCA learns more


def test_an_encoder_of_one_layer_has_no_value(make_target):
    row = score(TwoConvolutions(layers=1, channels=5), make_target(3)).scores[0]
    assert row.value is None and row.flags["few_layers"] == 1


def test_images_of_one_class_are_counted(make_target):
    target = make_target(4)
    masks = np.load(target.folder / "masks.npy")
    masks[3] = 0
    np.save(target.folder / "masks.npy", masks)
    flags = score(TwoConvolutions(), target).scores[0].flags
    assert flags["images_without_triplets"] == 1


def test_images_without_finite_gradients_are_counted(make_target):
    class Broken(TwoConvolutions):
        def maps(self, x: Tensor) -> list[Tensor]:
            return [super().maps(x)[0].masked_fill(x[:, :1, :1, :1] > 1, torch.nan)]

    row = score(Broken(), target := make_target(4)).scores[0]
    broken = int((target.images[:, 0, 0, 0] > 0.75 * 255).sum())
    assert 0 < broken < 4 and row.flags["nonfinite"] > broken and np.isfinite(row.number)  # and those of the sampled pixels


def test_the_first_layers_are_the_authors_choice():
    from medtransfer.encoders.build import build_encoder

    with torch.device("meta"):
        assert first_layers(build_encoder("timm", name="resnet18")) == ["network.conv1.weight", "network.layer1.0.conv1.weight"]


def test_a_ratio_needs_a_gradient():
    images = np.arange(2)
    assert GradientNorms(np.array([[1.0, 3.0], [3.0, 9.0]]), images).ratio() == 3
    assert np.isnan(GradientNorms(np.zeros((2, 2)), images).ratio()) and np.isnan(
        GradientNorms(np.empty((0, 2)), images[:0]).ratio()
    )


def test_neighbourhood_equals_a_vote_of_scikit_learn():
    features, labels = TALL
    scaled = features - features.mean(axis=0)
    scaled /= np.sqrt((scaled**2).sum(axis=1).mean())
    learned = NeighborhoodComponentsAnalysis(init="identity").fit_transform(scaled, labels)
    shares = []
    for row, label in enumerate(labels):
        others = np.arange(len(labels)) != row
        near = KNeighborsClassifier(5).fit(learned[others], labels[others])
        shares.append(near.predict_proba(learned[row, None])[0][list(near.classes_).index(label)])
    assert neighbourhood(features, labels)[0] == pytest.approx(np.mean(shares), abs=1e-9)


def test_neighbourhood_of_more_features_than_components_starts_from_principal_axes():
    features = np.hstack([TALL[0], 1e-3 * np.random.default_rng(0).normal(size=(60, 50))])
    assert neighbourhood(features, TALL[1])[0] == pytest.approx(neighbourhood(*TALL)[0], abs=0.02)
