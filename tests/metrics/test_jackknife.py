"""The jackknife of a mean is the textbook error of the mean, and everything else follows from its deviations."""

import numpy as np
import pytest

from medtransfer.metrics.jackknife import deviations, pseudo_values, standard_error

RNG = np.random.default_rng(0)
BLOCKS = RNG.normal(size=(3, 7))  # of three values that are means over seven blocks
VALUES = BLOCKS.mean(axis=1)
WITHOUT = np.stack([np.delete(BLOCKS, block, axis=1).mean(axis=1) for block in range(7)], axis=1)


def test_the_error_of_a_mean_is_the_textbook_one():
    assert [standard_error(row) for row in WITHOUT] == pytest.approx(BLOCKS.std(axis=1, ddof=1) / np.sqrt(7))


def test_the_products_of_deviations_are_covariances_of_means():
    assert deviations(WITHOUT) @ deviations(WITHOUT).T == pytest.approx(np.cov(BLOCKS) / 7)
    assert (deviations(WITHOUT)[0] ** 2).sum() == pytest.approx(np.var(BLOCKS[0], ddof=1) / 7)


def test_pseudo_values_of_means_are_the_blocks():
    assert pseudo_values(VALUES, WITHOUT) == pytest.approx(BLOCKS)


def test_the_error_of_a_product_is_right_to_first_order():
    """Var(xy) is about (y sd x)^2 + (x sd y)^2 for independent means x and y."""
    rng, blocks = np.random.default_rng(1), 2000
    x, y = 3 + rng.normal(size=blocks), 5 + rng.normal(size=blocks)
    without = [(x.sum() - a) * (y.sum() - b) / (blocks - 1) ** 2 for a, b in zip(x, y, strict=True)]
    assert standard_error(without) == pytest.approx(np.sqrt((25 + 9) / blocks), rel=0.05)


@pytest.mark.parametrize("replicates", [[], [1.0, np.nan], [1.0, np.inf]])
def test_without_finite_replicates_there_is_no_error(replicates: list[float]):
    assert standard_error(replicates) is None
