"""Robustness of two arrays of features, against the paper's equation written out."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist

from medtransfer import StoppingRule, robustness
from medtransfer.data.passed_arrays import group_numbers

RNG = np.random.default_rng(3)
FIRST = RNG.normal(size=(12, 5))
SECOND = FIRST + RNG.normal(size=(12, 5))
SCIPY = {"cosine": "cosine", "pearson": "correlation", "euclidean": "euclidean"}


def paper_negatives(count: int) -> list[int]:
    """Return the pairing of the released code: the list reversed and rotated by two."""
    backwards = list(range(count))[::-1]
    return backwards[-2:] + backwards[:-2]


@pytest.mark.parametrize("distance", SCIPY)
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_it_is_the_papers_equation(distance: str, margin: float) -> None:
    between = cdist(FIRST, SECOND, SCIPY[distance])
    losses = [max(0.0, between[i, i] - between[i, k] + margin) for i, k in enumerate(paper_negatives(12))]
    score = robustness(FIRST, SECOND, distance=distance, margin=margin, negative="paper")
    assert score.value == pytest.approx(1 - np.mean(losses)) and score.flags == {}
    assert score.error == pytest.approx(np.std(losses, ddof=1) / np.sqrt(12))
    assert score.replicates == pytest.approx([1 - np.mean(losses[:i] + losses[i + 1 :]) for i in range(12)])


def test_maps_are_flattened_and_tensors_are_arrays() -> None:
    maps = torch.from_numpy(RNG.normal(size=(2, 6, 3, 2, 2)).astype(np.float32)).requires_grad_()
    assert robustness(maps[0], maps[1]) == robustness(maps[0].detach().numpy().reshape(6, -1), maps[1].flatten(1))


def of_tensors(features: np.ndarray) -> list[torch.Tensor]:
    return list(torch.from_numpy(features))


@pytest.mark.parametrize(
    "convert",
    [
        lambda features: features.copy()[::-1][::-1], lambda features: features[:, ::-1].copy()[:, ::-1], np.asfortranarray,
        lambda features: features.astype(">f8"), lambda features: features.astype(object), lambda features: features.astype("U32"),
        lambda features: features.astype(np.longdouble), np.ndarray.tolist, list, pd.DataFrame, of_tensors, torch.from_numpy,
        lambda features: tuple(of_tensors(features)), np.ma.masked_array, lambda features: torch.from_numpy(features)[None][0],
    ],
)  # fmt: skip
def test_features_are_the_same_in_any_array(convert: Callable[[np.ndarray], Any]) -> None:
    first = convert(FIRST)
    assert robustness(first, convert(SECOND)) == robustness(first, SECOND) == robustness(FIRST, SECOND)


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "u2", "u4", "u8", "i8"])
def test_whole_numbers_are_numbers(kind: str) -> None:
    first, second = (np.abs(10 * view).astype(kind) for view in (FIRST, SECOND))
    expected = robustness(first.astype(np.float64), second.astype(np.float64)).value
    assert robustness(first, second).value == pytest.approx(expected, rel=1e-6)
    if not kind.startswith(">"):
        assert robustness(torch.from_numpy(first), torch.from_numpy(second)).value == pytest.approx(expected, rel=1e-6)


def test_a_read_only_array_is_no_matter_of_a_warning() -> None:
    first = FIRST.copy()
    first.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert robustness(first, list(SECOND)) == robustness(FIRST, SECOND)


def test_masked_values_are_not_finite() -> None:
    mask = np.zeros(FIRST.shape, bool)
    mask[3, 1] = True
    missing = np.where(mask, np.nan, FIRST)
    assert robustness(np.ma.masked_array(FIRST, mask), SECOND) == robustness(missing, SECOND)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (FIRST.astype(complex), "values of type complex128"),
        (torch.from_numpy(FIRST.astype(complex)), "a tensor of torch.complex128"),
        (torch.from_numpy(FIRST).to_sparse(), "a tensor of torch.float64 and of the layout torch.sparse_coo"),
        (torch.from_numpy(FIRST).to("meta"), "a tensor without values"),
        (FIRST.astype("M8[s]"), r"values of type datetime64\[s\]"),
        (np.full((12, 5), "lesion"), "a value of type ndarray, of which NumPy makes none .*could not convert string to float"),
        (pd.DataFrame({"name": ["lesion"] * 12, "x": range(12)}), "a value of type DataFrame, of which NumPy makes none"),
        ([[1.0, 2.0], [3.0]], "a value of type list, of which NumPy makes none"),
        ([torch.ones(2), torch.ones(3)], r"tensors of the shapes \(2,\) and \(3,\); pass one tensor"),
        (None, r"the shape \(\); pass one row per image"),
        ("features.npy", "a value of type str"),
        (lambda: FIRST, "a value of type function"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(first: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"of the first view as an array of real numbers, but got {message}"):
        robustness(first, SECOND)


def test_the_defaults_are_those_of_params_yaml() -> None:
    assert robustness(FIRST, SECOND) == robustness(FIRST, SECOND, distance="cosine", margin=0.5, negative="random", seed=0)
    assert robustness(FIRST, SECOND) != robustness(FIRST, SECOND, seed=1)


def test_negatives_are_of_other_groups_and_the_error_is_over_groups() -> None:
    groups = list("aabbccddeeff")
    views = np.repeat(np.eye(6), 2, axis=0)  # images of one group are alike: a negative of it would have no distance
    alike = robustness(views, views, groups=groups)
    assert (alike.value, alike.error, alike.flags, len(alike.replicates)) == (1.0, 0.0, {}, 6)
    assert robustness(FIRST, SECOND, groups=["a"] * 12).error is None


NUMBERED = np.array([7, 7, 3, 3, 9, 9, 0, 0, 4, 4, 1, 1])


@pytest.mark.parametrize(
    "groups",
    [
        NUMBERED.tolist(), NUMBERED.astype(">i2"), NUMBERED.astype(float)[::-1][::-1], NUMBERED.astype(str),
        torch.from_numpy(NUMBERED), list(torch.from_numpy(NUMBERED)), list(NUMBERED), NUMBERED.astype(object),
        pd.Series(NUMBERED, index=NUMBERED + 5), pd.Series(NUMBERED.astype(str)).astype("category"), iter(NUMBERED.tolist()),
        [(number, "left") for number in NUMBERED], [(number, "left") for number in torch.from_numpy(NUMBERED)],
    ],
)  # fmt: skip
def test_groups_are_equal_by_value_whatever_holds_them(groups: Any) -> None:
    """Images of one group are alike, so that a negative of it would have no distance, and would cost half the margin's loss."""
    views = np.repeat(np.eye(6), 2, axis=0)
    score = robustness(views, views, groups=groups)
    assert (score.value, score.error, len(score.replicates)) == (1.0, 0.0, 6)
    assert robustness(views, views).value < 1


def test_a_number_and_its_text_are_two_groups() -> None:
    assert group_numbers([1, "1", 1, 1.0], 4).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (NUMBERED[:, None], r"as an array or list \(N,\), one per image, but got the shape \(12, 1\)"),
        (torch.from_numpy(NUMBERED)[:, None], r"the shape \(12, 1\)"),
        (pd.DataFrame({"patient": NUMBERED}), r"the shape \(12, 1\)"),
        (torch.tensor(3), r"the shape \(\)"),
        (list(torch.from_numpy(NUMBERED)[:, None]), "image 0, counted from 0, has a value of type Tensor"),
        ([[number] for number in NUMBERED], "has a value of type list"),
        ("abcdefghijkl", "a value of type str"),
        (dict(enumerate(NUMBERED)), "a value of type dict"),
        (5, "a value of type int"),
        (np.where(NUMBERED == 9, np.nan, NUMBERED), "image 4, counted from 0, has nan"),
        (pd.Series([*NUMBERED[:11], None], dtype="Int64"), "image 11, counted from 0, has <NA>"),
        (["a"] * 11 + [None], "image 11, counted from 0, has None"),
        (torch.arange(5), "the group of each of 12 images, but got 5 groups"),
    ],
)
def test_groups_that_are_not_a_scalar_per_image_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robustness(FIRST, SECOND, groups=groups)


def test_odd_features_are_counted() -> None:
    first = np.vstack([np.zeros(5), [np.nan, 1, 2, 3, 4], FIRST[:4]])
    score = robustness(first, SECOND[:6])
    assert score.flags["zero"] == 2 and score.flags["nonfinite"] == 2


@pytest.mark.parametrize(
    ("first", "changed", "message"),
    [
        (FIRST[:, 0], {}, r"of the first view .*, but got the shape \(12,\)"),
        (FIRST[:5], {}, r"of one shape"),
        (FIRST, {"groups": [1, 2]}, "the group of each of 12 images, but got 2 groups"),
        (FIRST, {"distance": "far"}, "a distance out of cosine, .*, but got 'far'"),
        (FIRST, {"margin": -1.0}, "margins >= 0"),
        (FIRST, {"distance": ["cosine"]}, r"a distance out of cosine, .*, but got \['cosine'\]"),
        (FIRST, {"margin": "0.1"}, "a finite margin >= 0, but got '0.1'"),
        (FIRST, {"margin": np.array([0.5, 1])}, r"a finite margin >= 0, but got array\(\[0.5, 1"),
        (FIRST, {"seed": 1.5}, "a seed as a whole number of at least 0, but got 1.5"),
        (FIRST, {"seed": -1}, "a seed as a whole number of at least 0, but got -1"),
        (FIRST, {"negative": "none"}, "a kind of negatives out of random, paper, but got 'none'"),
    ],
)
def test_wrong_arguments_are_refused(first: np.ndarray, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robustness(first, SECOND, **changed)


def test_a_stopping_rule_takes_the_score() -> None:
    rule = StoppingRule("least-rise-1")
    for epoch, noise in enumerate([1.0, 0.5, 0.4999], start=1):
        rule.update(epoch, robustness(FIRST, FIRST + noise * (SECOND - FIRST)))
    assert rule.stopped_at == 3
    assert json.loads(json.dumps(rule.state_dict()))["seen"][0][0] == 1
