"""Algorithm 1's mixing and erasing: exact label mass, probabilities and sizes."""

import numpy as np
import pytest
import torch
from scipy import stats

from medtransfer.data.mixing import erase, mix


def flat(count: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images whose pixels are all the image's index, which is also the label."""
    values = torch.arange(count, dtype=torch.float32)
    return values.view(-1, 1, 1, 1).expand(count, 3, side, side).clone(), torch.arange(count)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cutmix_labels_weigh_the_exact_area() -> None:
    images, labels = flat(64)
    mixed, soft = mix(images, labels, 64, cutmix=1, mixup=0, generator=generator())
    assert mixed.shape == images.shape and soft.shape == (64, 64)
    for image, row in zip(mixed, soft, strict=True):
        area = torch.bincount(image[0].long().flatten(), minlength=64) / 256
        assert torch.equal(area, row)
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_cutmix_pastes_one_rectangle_of_the_partner() -> None:
    images = torch.rand(9, 3, 12, 20)
    labels = torch.arange(9)
    mixed, soft = mix(images, labels, 9, cutmix=1, mixup=0, generator=generator(1))
    for number in range(9):
        changed = (mixed[number] != images[number]).any(0)
        if not changed.any():
            continue
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        assert changed.sum() == len(rows) * len(columns) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        others = [other for other in soft[number].nonzero().flatten().tolist() if other != number]
        assert len(others) == 1
        assert torch.equal(mixed[number][:, changed], images[others[0]][:, changed])


def test_mixup_blends_images_like_labels() -> None:
    images, labels = flat(200, 2)
    mixed, soft = mix(images, labels, 200, cutmix=0, mixup=1, generator=generator())
    torch.testing.assert_close(mixed[:, 0, 0, 0], soft @ torch.arange(200.0), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(soft.sum(1), torch.ones(200))


def test_shares_follow_their_beta_distributions() -> None:
    images = torch.zeros(2000, 3, 1, 1)
    _, soft = mix(images, torch.arange(2000), 2000, cutmix=0, mixup=1, generator=generator(2))
    own = soft.diagonal().numpy()[soft.diagonal().numpy() < 1]
    assert stats.kstest(own, stats.beta(0.8, 0.8).cdf).pvalue > 0.01
    assert stats.kstest(own, stats.beta(1, 1).cdf).pvalue < 0.01


def test_probabilities_of_the_kinds() -> None:
    count = 3000
    images, labels = torch.rand(count, 3, 8, 8), torch.arange(count)
    mixed, soft = mix(images, labels, count, cutmix=0.5, mixup=0.4, generator=generator())
    same = (mixed == images).all(1).flatten(1)  # (N, 64)
    untouched, blended = same.all(1), ~same.any(1)
    assert abs(blended.float().mean() - 0.4) < 0.08  # a CutMix patch may fill the whole image
    assert 0.1 <= untouched.float().mean() < 0.2  # 0.1, and patches too small for a pixel of 8 x 8
    assert torch.equal(soft[untouched].argmax(1), labels[untouched])


def test_nothing_to_mix() -> None:
    images, labels = torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 1, 0])
    mixed, soft = mix(images, labels, 3, cutmix=0, mixup=0, generator=generator())
    assert torch.equal(mixed, images) and torch.equal(soft, torch.eye(3)[labels])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("cutmix", "mixup"), [(1.0, 0.0), (0.0, 1.0)])
def test_odd_batches(count: int, cutmix: float, mixup: float) -> None:
    images, labels = flat(count)
    mixed, soft = mix(images, labels, 4, cutmix=cutmix, mixup=mixup, generator=generator())
    torch.testing.assert_close(soft.sum(1), torch.ones(count))
    if count == 1:
        torch.testing.assert_close(mixed, images)
        assert torch.equal(soft, torch.eye(4)[:1])


@pytest.mark.parametrize(("cutmix", "mixup"), [(0.7, 0.4), (-0.1, 0.4)])
def test_impossible_probabilities(cutmix: float, mixup: float) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        mix(*flat(2), 2, cutmix=cutmix, mixup=mixup, generator=generator())


def test_mixing_uses_no_global_random_state() -> None:
    images, labels = flat(8)
    state = torch.get_rng_state()
    first, again = (mix(images, labels, 8, cutmix=0.5, mixup=0.4, generator=generator(7))[0] for _ in range(2))
    assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
    blacks = [erase(images, 0.5, generator(7), value=torch.full((3,), -1.0)) for _ in range(2)]
    assert torch.equal(*blacks) and torch.equal(torch.get_rng_state(), state)


def test_erasing_statistics() -> None:
    count, side = 3000, 40
    value = torch.tensor([-2.0, -1.0, -3.0])
    erased = erase(torch.zeros(count, 3, side, side), 0.25, generator(), value=value)
    hit = erased[:, 1] == -1  # (N, H, W)
    assert torch.equal(erased[:, 0] == -2, hit) and torch.equal(erased[:, 2] == -3, hit)
    assert torch.equal(erased[:, 0][~hit], torch.zeros(int((~hit).sum())))
    touched = hit.any(2).any(1)
    assert abs(touched.float().mean() - 0.25) < 0.025
    rows, columns = hit[touched].any(2).sum(1), hit[touched].any(1).sum(1)
    assert torch.equal(rows * columns, hit[touched].sum((1, 2)))  # rectangles
    area = (rows * columns / side**2).numpy()
    assert area.min() > 0.015 and area.max() < 0.35 and abs(area.mean() - 0.175) < 0.012
    clear = ((rows < side) & (columns < side)).numpy()
    aspect = (rows / columns).numpy()[clear]
    assert aspect.min() > 0.2 and aspect.max() < 4 and abs(aspect.mean() - 1.8) < 0.15


def test_sides_of_erased_areas_are_at_most_the_image() -> None:
    erased = erase(torch.zeros(2000, 3, 8, 8), 1, generator(), value=torch.full((3,), -1.0))
    rows = (erased[:, 0] == -1).any(2).sum(1)
    assert rows.max() == 8 and rows.min() >= 1  # sqrt(.33 * 3.3) = 1.04 of the height


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_erasing_never_or_always(probability: float, share: float) -> None:
    images = torch.rand(50, 3, 9, 7)
    before = images.clone()
    erased = erase(images, probability, generator(), value=torch.full((3,), -5.0))
    assert torch.equal(images, before)
    assert np.mean([(image == -5).any().item() for image in erased]) == share
