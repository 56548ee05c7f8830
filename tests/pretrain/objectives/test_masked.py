"""Masked patches: how many, where, and that only their pixels count."""

from dataclasses import replace

import pytest
import torch

from medtransfer.errors import InputError
from medtransfer.pretrain.objectives.masked import MaskedPatches, random_patches
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.training.fabric import Fabric


@pytest.fixture
def recipe(tiny_params) -> Recipe:
    return recipe_of(tiny_params({"pretrain.origin": "masked"}).pretrain)


@pytest.mark.parametrize(("ratio", "masked"), [(0.6, 10), (0.01, 1), (0.99, 15)])
def test_as_many_whole_patches_in_each_image(ratio, masked):
    maps = random_patches(20, 32, 8, ratio, torch.Generator().manual_seed(1))
    patches = maps.unfold(2, 8, 8).unfold(3, 8, 8)  # (N, 1, 4, 4, 8, 8)
    assert torch.equal(patches.amin((4, 5)), patches.amax((4, 5)))
    assert (patches.amax((4, 5)).sum((1, 2, 3)) == masked).all()
    assert len({tuple(one.flatten().tolist()) for one in patches.amax((4, 5))}) > 10
    assert torch.equal(maps, random_patches(20, 32, 8, ratio, torch.Generator().manual_seed(1)))


def test_only_masked_pixels_count(recipe):
    objective, fabric = MaskedPatches(recipe, {}), Fabric(accelerator="cpu", devices=1)
    batch = torch.randint(256, (4, 1, 32, 32, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    inputs, (images, mask) = objective.inputs(fabric, batch, None)
    assert torch.equal(inputs, objective.inputs(fabric, batch, None)[0])  # the same masks in every epoch
    assert (inputs[mask.expand_as(inputs) == 1] == 0).all() and torch.equal(inputs * (1 - mask), images * (1 - mask))
    assert objective.loss(torch.where(mask == 1, images, 77.0), (images, mask))[0] == 0
    wrong = images + 2.0 * mask + 5.0 * (1 - mask)
    assert objective.loss(wrong, (images, mask))[0].item() == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("patch", [7, 32])
def test_patches_divide_the_images(recipe, patch, tmp_path):
    wrong = replace(recipe, options={**recipe.options, "patch": patch})
    with pytest.raises(InputError, match=f"a patch of pretrain.origins.masked that divides pretrain.size 32, but got {patch}"):
        MaskedPatches.open(tmp_path, wrong)
