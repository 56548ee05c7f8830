"""The whole replay of small files, with lengths and margins left out: in any order, interrupted, and twice."""

import csv
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pytest import approx

from medtransfer import tracking
from medtransfer.config import Replay
from medtransfer.errors import InputError
from medtransfer.papers.hidy2024 import stage
from medtransfer.papers.hidy2024.claims import CLAIMS
from medtransfer.papers.hidy2024.named_files import named_files
from medtransfer.papers.hidy2024.store import build_pools, read_released
from medtransfer.selectors.selectors import FULL, HISTORY, OUTCOME, SELECTORS
from medtransfer.tracking import rows as store_rows

from .conftest import FEW, SEEDS, replay

pytestmark = pytest.mark.long


def rows(name: str) -> list[dict[str, str]]:
    with Path("replay", name).open() as handle:
        return list(csv.DictReader(handle))


def tables(out: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(Path(out).glob("*.csv"))}


@pytest.fixture
def no_figures(replayed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the figures of the first replay, since drawing takes most of the time of a small one."""
    drawn = replayed_folder / "replay" / "figures"
    names = sorted(path.name for path in drawn.glob("figure-*.png"))
    monkeypatch.setattr(
        stage, "draw_figures", lambda released, analyses, out: shutil.copytree(drawn, out, dirs_exist_ok=True) and names
    )


def test_the_store_gives_back_what_the_files_say(replayed: tuple[Path, Path]) -> None:
    runs = tracking.read_runs("replay")
    kinds = [run.params["kind"] for run in runs]
    assert kinds.count("finetune") == 3 * 3 * 2 * 2 * (2 * 2 + 1)  # encoders, targets, modes, seeds; epoch 0 serves both schemes
    assert (kinds.count("robustness"), kinds.count("result")) == (3 * 3 * 2, 1)
    scored = next(run for run in runs if run.params["kind"] == "robustness")
    assert sorted(tracking.read_curve(scored.id, "robustness")) == list(FEW.lengths)

    released = read_released()
    raw = pd.read_csv(replayed[0])
    assert len(released.dice) == len(raw)
    assert sorted(released.dice["dice"]) == sorted(raw["mean dice index"].fillna(raw["dice index"]))
    losses = pd.read_csv(replayed[1], float_precision="round_trip")["robustness"]
    assert sorted(1 - released.measured["robustness"]) == approx(sorted(losses), abs=1e-15)
    pools = build_pools(released, released.measured)
    assert len(pools) == 36
    assert all(pool.complete and len(pool.robustness) == 3 and pool.seeds == SEEDS[:2] for pool in pools)


def test_what_the_small_files_lack_is_named_cell_by_cell(replayed: tuple[Path, Path]) -> None:
    cells = rows("cells.csv")
    assert len(cells) == 594
    lost = {row["row"] for row in cells if row["verdict"] == "not recomputable"}
    assert lost == {"cosine, margin 1.00"}
    assert all(row["keyed"] == row["as_published"] == "" for row in cells if row["row"] in lost)
    assert all("margin 1.0" in row["reason"] for row in cells if row["row"] in lost)
    claims = {row["claim"]: row["holds_keyed"] for row in rows("claims.csv")}
    assert claims["a margin above 0.5 leads to a slight average decrease"] == "not recomputable"
    assert set(claims.values()) <= {"holds", "does not hold", "open", "not recomputable"}


def test_selectors_have_their_names_in_both_alignments(replayed: tuple[Path, Path]) -> None:
    found = rows("selectors.csv")
    released = (None, OUTCOME, HISTORY, "robustness", "source_accuracy")
    names = {name for name, selector in SELECTORS.items() if selector.needs in released and selector != FULL}
    names -= {"one-each-last5", "two-seeds", "race"}  # three lengths and two seeds
    names |= {"fixed-1", "fixed-300"}
    for alignment in ("keyed", "as-published"):
        assert {row["selector"] for row in found if row["alignment"] == alignment} == names
    for row in found:  # over 6 pretrainings
        if row["selector"] == "oracle":  # TIS 1 by definition
            assert (row["ci_low"], row["ci_high"]) == ("", "")
        else:
            assert float(row["ci_low"]) <= float(row["mean_tis"]) <= float(row["ci_high"])
        assert float(row["min_tis"]) <= float(row["mean_tis"])


def test_pruning_is_counted_in_every_configuration(replayed: tuple[Path, Path]) -> None:
    """Of three checkpoints the one of the highest robustness stays."""
    released = read_released()
    chosen = [(pool.means, pool.robustness) for pool in build_pools(released, released.measured)]
    lost = sum(means[max(scores, key=scores.__getitem__)] < max(means.values()) for means, scores in chosen)
    found = {row["indicator"]: row for row in rows("pruning.csv")}
    assert (found["robustness"]["pools"], found["robustness"]["lost"]) == ("36", str(lost))
    assert float(found["robustness"]["blind_loss"]) == approx(2 / 3)
    text = Path("replay/replay.html").read_text()
    assert "If each indicator had pruned first, joined by key" in text and f"{lost} of 36" in text


def test_the_page_needs_nothing_and_shows_the_figures(replayed: tuple[Path, Path]) -> None:
    page = Path("replay/replay.html").read_text()
    assert page.count('src="data:image/png;base64,') == len(list(Path("replay/figures").glob("figure-*.png"))) == 7
    assert sorted(path.name for path in Path("replay/figures").glob("stop*")) == ["stopping-own.png", "stopping-shared.png"]
    assert "://" not in page.replace("http://www.w3.org", "")
    assert Path("replay/replay.md").read_text().startswith("# The paper's numbers")


def test_the_page_starts_with_verdict_words_cost_and_main_claims_and_folds_the_rest(replayed: tuple[Path, Path]) -> None:
    page = Path("replay/replay.html").read_text()
    front, rest = page.split("<h2>Everything else</h2>")
    assert re.findall("<h2>([^<]*)", front) == [
        "What the words mean", "What each way of choosing costs, and keeps", "When to stop",
        "The paper’s main claims", "In numbers",
    ]  # fmt: skip
    assert "Over 36 configurations of 6 pretrainings and 3 datasets, robustness keeps " in front.split("<h2>")[0]
    assert front.count('scope="row">') == 6 and "<details" not in front
    assert re.findall("<summary>([^<:]*)", rest) == [
        "All claims", "Ways of choosing", "Stopping rules", "Comparisons, joined by key",
        "If each indicator had pruned first, joined by key", "Printed numbers", "How scores and Dice were joined",
        "Not explained", "Figures of the paper, drawn again", "Audit of the files",
    ]  # fmt: skip
    assert rest.count("<details") == rest.count("<summary>") and "<h2>" not in rest
    assert len(rows("claims.csv")) == rest.split("<summary>")[1].count('scope="row">') == len(CLAIMS) + 1


def test_the_terminal_shows_the_verdict_the_counts_and_one_small_table(replayed: tuple[Path, Path], no_figures: None) -> None:
    text = replay(*replayed)
    head, claims, numbers, table, last = text.replace("\nThe page", "\n\nThe page").split("\n\n")
    assert "The paper’s released results " in head and last == "The page: replay/replay.html"
    assert re.fullmatch(
        r"Of 22 claims that the paper makes in words, the released data support \d+, contradict \d+, and leave \d+ open\.", claims
    )
    assert numbers.startswith("Of 594 printed numbers, joined by key ")
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert names == [name for name in SELECTORS if name in names] and {"offline", "online", "none", "oracle"} <= set(names)


def test_claims_and_counts_agree_with_their_tables(replayed: tuple[Path, Path]) -> None:
    held = [row["holds_keyed"] for row in rows("claims.csv")]
    verdicts = [row["verdict"] for row in rows("cells.csv")]
    text = Path("replay/replay.md").read_text()
    assert f"support {held.count('holds')}, contradict {held.count('does not hold')}, and leave {held.count('open')} open." in text
    reproduced, noisy, contradicted = (verdicts.count(name) for name in ("reproduced", "within noise", "contradicted"))
    assert f"joined by key {reproduced} are reproduced to the digits, {noisy} differ within noise, where the printed" in text
    assert f"runs are others than the released ones, and {contradicted} are contradicted; " in text
    against = next(row for row in rows("claims.csv") if row["measure"] == "mean TIS, online - full")
    contrast = next(
        row for row in rows("contrasts.csv") if (row["alignment"], row["first"], row["second"]) == ("keyed", "online", "full")
    )
    holds = {"better": "holds", "worse": "does not hold", "equivalent": "open", "undecided": "open"}
    assert against["holds_keyed"] == holds[contrast["outcome"]]
    assert [float(against[name] or "nan") for name in ("keyed", "keyed_low", "keyed_high")] == approx(
        [float(contrast[name] or "nan") for name in ("difference", "difference_low", "difference_high")], nan_ok=True
    )


def test_a_second_replay_adds_nothing_in_any_order_of_rows(replayed: tuple[Path, Path], no_figures: None, tmp_path: Path) -> None:
    before, runs = tables("replay"), {run.id for run in tracking.read_runs("replay")}
    replay(*replayed)
    assert tables("replay") == before
    assert {run.id for run in tracking.read_runs("replay")} == runs
    shuffled = tmp_path / "downstream_scores.csv", tmp_path / "robustness_scores.csv"
    for path, other in zip(replayed, shuffled, strict=True):
        pd.read_csv(path, dtype=str, keep_default_na=False).sample(frac=1, random_state=3).to_csv(other, index=False)
    replay(*shuffled, out="shuffled")
    assert tables("shuffled") == before
    assert len(tracking.read_runs("replay")) == 2 * len(runs)


def test_an_interrupted_import_resumes(
    workplace: Path, replayed_folder: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = replayed_folder / "downstream_scores.csv", replayed_folder / "robustness_scores.csv"
    insert, written = store_rows._insert, []

    def fail(*arguments: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(insert(*arguments))  # type: ignore[func-returns-value,arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store_rows, "AT_ONCE", 50)
        patch.setattr(store_rows, "_insert", fail)
        replay(*paths)
    assert len(tracking.read_runs("replay")) == 100
    replay(*paths)
    runs = tracking.read_runs("replay")
    assert len(runs) == len({run.tags[tracking.CELL] for run in runs}) == 180 + 18 + 1
    assert tables("replay") == tables(str(replayed_folder / "replay"))


@pytest.mark.parametrize("missing", ["downstream", "robustness"])
def test_a_file_that_is_not_named_is_asked_for(missing: str) -> None:
    names = {"downstream": "a.csv", "robustness": "b.csv", missing: None}
    with pytest.raises(InputError, match=f"expected --{missing}"):
        named_files(Replay(out="replay", paper="hidy", **names))
