"""Simulated coverage: every interval must cover what it says with the numbers of seeds and configurations that users have.

Means and spreads are of the size of the published results (downstream_scores.csv of Hidy et al., arXiv:2410.18677, fitted by
analysis of variance): Dice spreads of .001 to .01 within a configuration, of up to .03 at random initialisation; components of
the TIS over pretrainings, their interaction with the dataset, and the rest. `pytest -s` prints the table.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from medtransfer.analysis.robustness_draws import Drawn
from medtransfer.metrics.comparison import cluster_mean, mean_tis_interval, share_interval
from medtransfer.metrics.image_labels import Predicted, patient_intervals
from medtransfer.metrics.uncertainty import confidence_set, estimate, mean_interval, probability_best, tis_interval

pytestmark = pytest.mark.slow

LEAST, MOST_ERROR = 0.93, 0.06
EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
CURVES = {  # mean Dice by epoch, and the standard deviation over seeds
    "clear": ([0.80, 0.86, 0.88, 0.89, 0.892, 0.894, 0.893, 0.894, 0.895, 0.896], [0.003] * 10),
    "flat": ([0.610, 0.612, 0.611, 0.613, 0.612, 0.614, 0.613, 0.612, 0.614, 0.613], [0.005] * 10),
    "uneven": (
        [0.55, 0.75, 0.79, 0.81, 0.812, 0.813, 0.811, 0.814, 0.812, 0.815],
        [0.03, 0.0012, 0.002, 0.001, 0.0006, 0.0009, 0.0006, 0.0017, 0.002, 0.0034],
    ),
}
SHARED = (0.0, 0.13, 0.4)  # share of the variance that a seed adds to all candidates; .126 in the published results
COMPONENTS = {  # standard deviations over pretrainings, of pretraining x dataset, and of the rest
    "offline": (0.004, 0.006, 0.017), "online": (0.035, 0.010, 0.040), "offline - full": (0.005, 0.007, 0.015),
    "offline - none": (0.059, 0.025, 0.023),
}  # fmt: skip
DESIGNS = {"6 x 1 x 1": (6, 1, 1), "6 x 3 x 2": (6, 3, 2), "12 x 3 x 1": (12, 3, 1)}


def report(what: str, share: float, trials: int) -> None:
    print(f"{what:60} {share:.3f}  ({trials})")


def draw(curve: str, seeds: int, shared: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw Dice (C, S) around the true means (C,)."""
    means, spreads = (np.array(part) for part in CURVES[curve])
    common = rng.standard_normal((1, seeds))
    noise = np.sqrt(1 - shared) * rng.standard_normal((len(means), seeds)) + np.sqrt(shared) * common
    return means, means[:, None] + spreads[:, None] * noise


def share_of(trials: int, covers: Callable[[], bool]) -> float:
    return sum(covers() for _ in range(trials)) / trials


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_of_dice_and_tis_and_the_set_of_the_best_cover(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    hits: dict[str, list[bool]] = {"Dice": [], "TIS of a fixed choice": [], "TIS of a uniform draw": [], "set of the best": []}
    for curve in CURVES:
        for shared in SHARED:
            for _ in range(130):
                means, dice = draw(curve, seeds, shared, rng)
                known = estimate(dict(zip(EPOCHS, dice.tolist(), strict=True)), apart={0}, blocked=True)
                chosen = int(rng.integers(len(EPOCHS)))
                for name, candidate, true in (
                    ("TIS of a fixed choice", EPOCHS[chosen], means[chosen] / means.max()),
                    ("TIS of a uniform draw", None, means.mean() / means.max()),
                ):
                    low, high = tis_interval(known, candidate, 0.95)
                    hits[name].append(low - 1e-12 <= true <= high + 1e-12)
                low, high = mean_interval(dice[chosen].tolist(), 0.95)
                hits["Dice"].append(low <= means[chosen] <= high)
                hits["set of the best"].append(EPOCHS[int(means.argmax())] in confidence_set(known, 0.95))
    shares = {name: float(np.mean(values)) for name, values in hits.items()}
    for name, share in shares.items():
        report(f"{name}, {seeds} seeds", share, len(hits[name]))
    assert all(share >= LEAST for share in shares.values()), shares


@pytest.mark.parametrize(("unequal", "least"), [(0.0, LEAST), (0.33, 0.92), (0.5, 0.9)])
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("candidates", [3, 5, 10])
def test_the_set_of_the_best_covers_in_small_pools(candidates: int, seeds: int, unequal: float, least: float) -> None:
    """All are equally good, which is the hardest case, and their spreads differ by factors exp(N(0, unequal)).

    .33 gives log variances the variance .44 of those of the published results, without epoch 0.
    """
    rng, trials = np.random.default_rng(seeds), 1000
    kept = dict.fromkeys(SHARED, 0)
    for shared in SHARED:
        for _ in range(trials):
            noise = np.sqrt(1 - shared) * rng.standard_normal((candidates, seeds))
            spreads = 0.01 * np.exp(unequal * rng.standard_normal((candidates, 1)))
            dice = 0.8 + spreads * (noise + np.sqrt(shared) * rng.standard_normal((1, seeds)))
            kept[shared] += 1 in confidence_set(estimate(dict(enumerate(dice.tolist())), blocked=True), 0.95)
    share = sum(kept.values()) / trials / len(kept)
    report(f"set of the best of {candidates}, {seeds} seeds, spreads {unequal}", share, trials * len(kept))
    assert least <= share <= 0.975


@pytest.mark.parametrize(("sizes", "least"), [((8, 8), LEAST), ((2, 19), 0.92)])
@pytest.mark.parametrize("patients", [2, 3, 5, 8, 12, 25])
def test_robustness_covers_over_patients(patients: int, sizes: tuple[int, int], least: float) -> None:
    """Triplet losses have an effect of the patient of .06 and a rest of .08; each has 8 images, or from 2 to 19."""
    rng, trials = np.random.default_rng(patients), 4000

    def covers() -> bool:
        groups = np.repeat(np.arange(patients), rng.integers(sizes[0], sizes[1] + 1, patients))
        losses = 0.4 + 0.06 * rng.standard_normal(patients)[groups] + 0.08 * rng.standard_normal(len(groups))
        low, high = Drawn([1], losses[None], groups, np.empty((0, 1))).intervals(0.95)[1]
        return low <= 0.6 <= high

    share = share_of(trials, covers)
    report(f"robustness, {patients} patients of {sizes[0]} to {sizes[1]} images", share, trials)
    assert share >= least


@pytest.mark.parametrize(("patients", "least"), [(6, 0.8), (12, 0.9), (30, 0.92)])
def test_metrics_of_images_cover_over_patients(patients: int, least: float) -> None:
    """Four images of each patient: normal scores of two classes, 1.2 apart, of which .36 of the variance is between patients."""
    rng, trials = np.random.default_rng(patients), 500
    auc, accuracy = norm.cdf(1.2 / np.sqrt(2)), norm.cdf(0.6)
    hits: dict[str, list[bool]] = {"auc": [], "accuracy": []}
    names = [str(patient) for patient in range(patients) for _ in range(4)]
    for _ in range(trials):
        truth = rng.permutation(np.arange(4 * patients) % 2)
        scores = 1.2 * truth + 0.6 * rng.standard_normal(patients).repeat(4) + 0.8 * rng.standard_normal(4 * patients)
        for row in patient_intervals(Predicted(norm.cdf(scores - 0.6)[:, None], truth[:, None]), names, list(hits)):
            hits[row["metric"]].append(row["low"] <= {"auc": auc, "accuracy": accuracy}[row["metric"]] <= row["high"])
    shares = {name: float(np.mean(values)) for name, values in hits.items()}
    for name, share in shares.items():
        report(f"{name} over {patients} patients", share, trials)
    assert all(share >= least for share in shares.values()), shares


@pytest.mark.parametrize("seeds", [3, 5])
def test_p_best_is_right_as_often_as_it_says(seeds: int) -> None:
    """The candidates' true means are drawn, since a probability is about what is unknown."""
    rng = np.random.default_rng(seeds)
    said, right = [], []
    for _ in range(1000):
        means = 0.8 + rng.normal(0, rng.choice([0.002, 0.01]), 8)
        dice = means[:, None] + rng.normal(0, rng.uniform(0.001, 0.004, (8, 1)), (8, seeds))
        chances = probability_best(estimate(dict(enumerate(dice.tolist())), blocked=True), 400, rng)
        assert chances is not None
        said += chances.tolist()
        right += (np.arange(8) == means.argmax()).tolist()
    chances, found = np.array(said), np.array(right)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        inside = (chances >= low) & (chances < high)
        report(f"P(best) {chances[inside].mean():.2f}, {seeds} seeds: right", float(found[inside].mean()), int(inside.sum()))
        chance = 2 * np.sqrt(0.25 / inside.sum())  # of the simulation
        assert found[inside].mean() == pytest.approx(chances[inside].mean(), abs=0.05 + chance), (low, high)


def cells(design: str, components: str, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Draw deviations of the TIS (cells,) of pretrainings x datasets x modes, and the levels of the factors."""
    pretrainings, targets, modes = DESIGNS[design]
    of_pretraining, of_both, rest = COMPONENTS[components]
    table = (
        of_pretraining * rng.standard_normal((pretrainings, 1, 1)) + of_both * rng.standard_normal((pretrainings, targets, 1))
        + rest * rng.standard_normal((pretrainings, targets, modes))
    )  # fmt: skip
    index = np.indices(table.shape).reshape(3, -1).astype(str)
    return table.ravel(), {"pretraining": index[0].tolist(), "target": index[1].tolist()}


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("agreement", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("design", DESIGNS)
def test_shares_of_configurations_cover(design: str, agreement: float, share: float) -> None:
    """Configurations of a pretraining have the same event with a probability of `agreement`, and else one of their own."""
    rng, (pretrainings, *others) = np.random.default_rng(len(design)), DESIGNS[design]
    names = {"pretraining": [str(name) for name in range(pretrainings) for _ in range(int(np.prod(others)))]}

    def covers() -> bool:
        own, shared = rng.random((pretrainings, int(np.prod(others)))), rng.random((pretrainings, 1))
        events = np.where(rng.random(own.shape) < agreement, shared, own) < share
        low, high = share_interval(events.ravel().tolist(), names, 0.95)
        return low <= share <= high

    covered = share_of(300, covers)
    report(f"share {share}, {design}, agreement {agreement}", covered, 300)
    assert covered >= LEAST


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("design", DESIGNS)
def test_means_and_differences_over_configurations_cover(design: str, components: str) -> None:
    """Of the pretrainings; the datasets are taken as they are."""
    rng, trials = np.random.default_rng(len(design)), 3000
    covered, mistaken = 0, 0
    for _ in range(trials):
        values, levels = cells(design, components, rng)
        mean = cluster_mean(values.tolist(), levels)
        low, high = mean.interval(0.95) or (0, 0)
        covered += low <= 0 <= high
        mistaken += mean.outcome(0.95, 0.01) in {"better", "worse"}
    report(f"mean of {components}, {design}", covered / trials, trials)
    assert covered / trials >= LEAST
    assert mistaken / trials <= MOST_ERROR


@pytest.mark.parametrize("sizes", [(6, 6, 6, 6, 3, 3), (6, 6, 6, 2, 2, 2), (12, 12, *[3] * 8)])
def test_means_over_pretrainings_of_unequal_weight_cover(sizes: tuple[int, ...]) -> None:
    rng, covered, trials = np.random.default_rng(0), 0, 3000
    levels = [str(cluster) for cluster, size in enumerate(sizes) for _ in range(size)]
    for _ in range(trials):
        values = rng.standard_normal(len(sizes))[[int(level) for level in levels]] + 0.3 * rng.standard_normal(len(levels))
        low, high = cluster_mean(values.tolist(), {"pretraining": levels}).interval(0.95) or (1, 0)
        covered += low <= 0 <= high
    report(f"mean over pretrainings with {sizes} configurations", covered / trials, trials)
    assert covered / trials >= LEAST


@pytest.mark.parametrize("count", [6, 9, 36])
@pytest.mark.parametrize("shape", [1.0, 2.0])
def test_a_mean_tis_covers_with_skewed_losses(count: int, shape: float) -> None:
    """Losses 1 - TIS of gamma distributions, mean .02: exponential, and less skewed."""
    rng = np.random.default_rng(count)

    def covers() -> bool:
        losses = rng.gamma(shape, 0.02 / shape, count)
        mean = cluster_mean((1 - losses).tolist(), {"pretraining": [str(i) for i in range(count)]})
        low, high = mean_tis_interval(mean, 0.95) or (0, 0)
        return low <= 0.98 <= high

    share = share_of(4000, covers)
    report(f"mean TIS, {count} pretrainings, losses of shape {shape}", share, 4000)
    assert share >= LEAST


@pytest.mark.parametrize(("count", "probability", "loss"), [(6, 0.11, 0.1), (6, 0.25, 0.08), (9, 0.15, 0.1), (12, 0.05, 0.3)])
def test_rare_losses_are_neither_missed_nor_called_equivalent(count: int, probability: float, loss: float) -> None:
    """A pretraining loses .08 to .3 or nothing; often no loss is seen, though the mean difference is above the margin."""
    rng, names = np.random.default_rng(count), {"pretraining": [str(i) for i in range(count)]}
    equivalent = 0

    def covers() -> bool:
        nonlocal equivalent
        losses = np.where(rng.random(count) < probability, loss, 0.0)
        equivalent += cluster_mean((-losses).tolist(), names).outcome(0.95, 0.01) == "equivalent"
        low, high = mean_tis_interval(cluster_mean((1 - losses).tolist(), names), 0.95, worst=1 - loss) or (0, 0)
        return low <= 1 - probability * loss <= high

    share = share_of(2000, covers)
    report(f"mean TIS, {count} pretrainings, a loss of {loss} with a probability of {probability}", share, 2000)
    assert share >= LEAST
    assert equivalent / 2000 <= 0.05


def test_equivalence_is_rarely_said_at_the_margin() -> None:
    rng, margin = np.random.default_rng(0), 0.01

    def says() -> bool:
        values, levels = cells("6 x 3 x 2", "offline - full", rng)
        return cluster_mean((values + margin).tolist(), levels).outcome(0.95, margin) == "equivalent"

    share = share_of(3000, says)
    report("equivalent, though the difference is the margin", share, 3000)
    assert share <= 0.05 + 0.01
