"""The files that the paper's authors released, replayed once by the real command: golden tables and known findings."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path

import pandas as pd
import pytest
from pytest import approx
from scipy import stats
from tests.analysis.test_trials import by_enumeration
from tests.golden import compare, make

from medtransfer import tracking
from medtransfer.papers.hidy2024.spread import RELATIVE_SPREADS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def text(published: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Replay the released files; work in the folder of the results; return what the command prints."""
    folder = tmp_path_factory.mktemp("released")
    printed = make.run_replay(folder, published[0].parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield printed


def rows(name: str) -> list[dict[str, str]]:
    with Path("replay", name).open() as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("table", make.RELEASED)
def test_tables_are_the_golden_ones(table: str, text: str) -> None:
    compare.compare_rows(f"released/{table}", rows(table))


def test_no_stopping_rule_beats_fixed_lengths(text: str) -> None:
    """The paper's rule and keep-stop as found independently; nothing is better or worse, whatever the account of cost."""
    rules = {row["rule"]: row for row in rows("stopping_rules.csv")}
    assert {row["outcome"] for row in rules.values()} | {row["outcome_shared"] for row in rules.values()} == {
        "equivalent",
        "undecided",
    }
    expected = {  # mean TIS, epochs, difference to fixed lengths, shared epochs, fixed lengths there
        "first-drop": (0.9570, 32.4, -0.0164, 95.8, 0.983),
        "keep-stop": (0.9741, 32.4, 0.0007, 95.8, 0.983),
    }
    for name, values in expected.items():
        found = [float(rules[name][key]) for key in ("mean_tis", "epochs", "difference", "epochs_shared", "fixed_shared")]
        assert [round(value, digits) for value, digits in zip(found, (4, 1, 4, 1, 3), strict=True)] == list(values)
    assert [round(float(rules["first-drop"][key]), 3) for key in ("difference_low", "difference_high")] == [-0.037, 0.004]
    chosen = rules["patience, by other encoders"]["chosen"].split(", ")
    assert [part.split(":")[0] for part in chosen] == ["resnet50", "swin", "unet"]


def test_the_headline_is_not_borne_out(text: str) -> None:
    """As found twice independently."""
    keyed = {row["selector"]: row for row in rows("selectors.csv") if row["alignment"] == "keyed"}
    expected = {"offline": 0.990, "online": 0.957, "fixed-300": 0.994, "fixed-100": 0.983, "source-accuracy": 0.994}
    assert {name: round(float(keyed[name]["mean_tis"]), 3) for name in expected} == expected
    assert float(keyed["online"]["mean_epochs"]) == approx(32.36, abs=0.01)
    assert float(keyed["online"]["fixed_at_cost"]) > float(keyed["online"]["mean_tis"])
    assert float(keyed["online-keep-stop"]["mean_tis"]) == approx(0.9741, abs=5e-5)
    assert float(keyed["online-keep-stop"]["min_tis"]) == approx(0.867, abs=5e-4)
    assert keyed["online-keep-stop"]["mean_epochs"] == keyed["online"]["mean_epochs"]
    assert text.startswith("The paper’s released results do not show that choosing a checkpoint by robustness is better than pre")
    assert "Over 36 configurations of 6 pretrainings and 3 datasets, robustness keeps 99.0 % (" in text
    assert json.loads(Path("replay/metrics.json").read_text())["tis_offline"] == approx(0.9896, abs=1e-4)


def test_what_the_seeds_can_distinguish_and_what_permutations_bring(text: str) -> None:
    """Seeds for a gap of .01, by SciPy's noncentral t distribution at the median released spread of each dataset."""

    def power(spread: float, seeds: int) -> float:
        degrees, shift = 2 * (seeds - 1), 0.01 / spread * (seeds / 2) ** 0.5
        return float(stats.nct.sf(stats.t.ppf(0.975, degrees), degrees, shift))

    needed = {name: next(n for n in count(2) if power(spread, n) >= 0.8) for name, spread in RELATIVE_SPREADS.items()}
    assert needed == {"acdc": 3, "covid-qu": 3, "idrid": 16}
    page = Path("replay/replay.md").read_text()
    assert "seeds needed for a difference of 0.01: acdc 3, covid-qu 3, idrid 16." in page
    shares = re.search(r"they do at least as well with a probability of ([\d.]+) \(robustness, offline\)", page)
    assert shares and 0.1 < float(shares[1]) < 0.4  # undecided: choices of other targets do as well


def test_claims_audit_and_runs(text: str) -> None:
    audit = {(row["check"], row["severity"]) for row in rows("audit.csv")}
    assert {("copied-scores", "error"), ("duplicate-rows", "warning"), ("seed-count", "warning")} <= audit
    claims = {row["claim"]: row["holds_keyed"] for row in rows("claims.csv")}
    assert claims["… and than full pretraining"] == "open"
    assert claims["worst case over 91 %, online"] == "does not hold"
    scratch = "pretraining timed by robustness leads to better downstream performance than training from scratch"
    assert claims[scratch] == "holds"
    kinds = [run.params["kind"] for run in tracking.read_runs("replay")]
    assert (kinds.count("finetune"), kinds.count("robustness")) == (1689, 18)


def test_the_published_spread_is_that_of_the_released_results(published: tuple[Path, Path]) -> None:
    table = pd.read_csv(published[0])
    dice = table["mean dice index"].fillna(table["dice index"])
    configuration = ["dataset", "model", "freeze encoder", "pretraining scheme"]
    cells = dice.groupby([table[name] for name in (*configuration, "pretraining length")]).agg(["mean", "var"]).reset_index()
    best = cells.groupby(configuration)["mean"].max()
    variance = cells[cells["pretraining length"] > 0].groupby(configuration)["var"].mean()
    spread = (variance**0.5 / best).groupby("dataset").median()
    names = {"acdc": "ACDC", "covid-qu": "COVIDQUDataset", "idrid": "IDRiD"}
    assert {name: round(spread[names[name]], 4) for name in RELATIVE_SPREADS} == RELATIVE_SPREADS


def test_fine_tuning_first_keeps_what_plain_python_finds(published: tuple[Path, Path], text: str) -> None:
    """Every order of the seeds of every configuration, from the file itself."""
    table = pd.read_csv(published[0]).rename(columns={"pretraining length": "epoch", "pretraining scheme": "scheme"})
    table["dice"] = table["mean dice index"].fillna(table["dice index"])
    rungs = {"one-each": (10,), "one-each-last5": (5,), "two-seeds": (10, 10), "race": (10, 4, 2)}
    expected: dict[str, list[float]] = {name: [] for name in rungs}
    groups = table.drop_duplicates(["model", "dataset", "freeze encoder", "scheme", "epoch", "seed"]).groupby(
        ["model", "dataset", "freeze encoder"]
    )
    for (_, group), scheme in product(groups, ("simple", "advanced")):
        of_scheme = group[(group["scheme"] == scheme) | (group["epoch"] == 0)]
        wide = of_scheme.pivot(index="epoch", columns="seed", values="dice").dropna(axis=1)
        dice = {int(epoch): tuple(values) for epoch, values in zip(wide.index, wide.to_numpy(), strict=True)}
        for name, plan in rungs.items():
            expected[name].append(by_enumeration(dice, plan)[1])
    found = {row["selector"]: row for row in rows("selectors.csv") if row["alignment"] == "keyed"}
    for name, values in expected.items():
        assert len(values) == 36
        assert float(found[name]["mean_tis"]) == approx(sum(values) / 36, abs=1e-9)
        assert float(found[name]["min_tis"]) == approx(min(values), abs=1e-9)
        assert float(found[name]["mean_fine_tunings"]) == sum(rungs[name])
    tis = {name: round(float(row["mean_tis"]), 4) for name, row in found.items() if name in rungs}
    assert tis == {"one-each": 0.9977, "one-each-last5": 0.9957, "two-seeds": 0.9984, "race": 0.9988}
