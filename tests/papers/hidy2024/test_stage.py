"""The whole replay: small files with lengths and margins left out, in any order, twice; and the released ones as they are."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from pytest import approx

from medtransfer import tracking
from medtransfer.config import Replay
from medtransfer.errors import InputError
from medtransfer.papers.hidy2024.stage import run
from medtransfer.papers.hidy2024.store import build_pools, read_released
from medtransfer.selectors.selectors import FULL, OUTCOME, SELECTORS
from medtransfer.tracking import bulk

from .conftest import FEW, REPORT, SEEDS, Results, replay

UNET = Results(encoders=("unet",), lengths=(0, 1, 300), seeds=SEEDS[:2], margins=(0.5,), levels=2)  # 66 runs


def rows(name: str, out: str = "replay") -> list[dict[str, str]]:
    with Path(out, name).open() as handle:
        return list(csv.DictReader(handle))


def tables(out: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(Path(out).glob("*.csv"))}


def test_there_is_a_run_for_every_fine_tuning_and_every_group_of_scores(replayed: tuple[Path, Path]) -> None:
    runs = tracking.read_runs("replay")
    kinds = [run.params["kind"] for run in runs]
    assert kinds.count("finetune") == 3 * 3 * 2 * 2 * (2 * 2 + 1)  # encoders, targets, modes, seeds; epoch 0 serves both schemes
    assert kinds.count("robustness") == 3 * 3 * 2
    assert kinds.count("result") == 1
    scored = next(run for run in runs if run.params["kind"] == "robustness")
    assert sorted(tracking.read_curve(scored.id, "robustness")) == list(FEW.lengths)


def test_doing_it_again_adds_nothing_and_gives_the_same(replayed: tuple[Path, Path]) -> None:
    before, runs = tables("replay"), {run.id for run in tracking.read_runs("replay")}
    replay(*replayed)
    assert tables("replay") == before
    assert {run.id for run in tracking.read_runs("replay")} == runs


def test_the_order_of_the_rows_does_not_matter(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    paths = UNET.write(tmp_path_factory.mktemp("files"))
    shuffled = [path.with_name(f"shuffled-{path.name}") for path in paths]
    for path, other in zip(paths, shuffled, strict=True):
        pd.read_csv(path, dtype=str, keep_default_na=False).sample(frac=1, random_state=3).to_csv(other, index=False)
    replay(*paths)
    replay(*shuffled, out="shuffled")
    assert tables("shuffled") == tables("replay")


def test_the_store_gives_back_what_the_files_say(replayed: tuple[Path, Path]) -> None:
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
    released = (None, OUTCOME, "robustness", "source_accuracy")
    names = {name for name, selector in SELECTORS.items() if selector.needs in released and selector != FULL}
    names |= {"fixed-1", "fixed-300"}
    for alignment in ("keyed", "as-published"):
        assert {row["selector"] for row in found if row["alignment"] == alignment} == names
    for row in found:
        assert float(row["ci_low"]) <= float(row["mean_tis"]) <= float(row["ci_high"])
        assert float(row["min_tis"]) <= float(row["mean_tis"])


def test_the_page_needs_nothing_and_shows_the_figures(replayed: tuple[Path, Path]) -> None:
    page = Path("replay/replay.html").read_text()
    assert page.count('src="data:image/png;base64,') == len(list(Path("replay/figures").glob("*.png"))) == 7
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "Joined by key, over 36 configurations" in page
    assert Path("replay/replay.md").read_text().startswith("# The paper's numbers")


def test_an_interrupted_import_resumes(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = UNET.write(tmp_path)
    write, written = bulk._write_run, []

    def fail(*arguments: object) -> None:
        if len(written) == 20:
            raise KeyboardInterrupt
        written.append(write(*arguments))  # type: ignore[func-returns-value,arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_write_run", fail)
        with pytest.raises(KeyboardInterrupt):
            replay(*paths)
    assert len(tracking.read_runs("replay")) == 20
    replay(*paths)
    runs = tracking.read_runs("replay")
    assert len(runs) == len({run.tags[tracking.CELL] for run in runs}) == 3 * 2 * 2 * 5 + 6 + 1


@pytest.mark.parametrize("missing", ["downstream", "robustness"])
def test_a_file_that_is_not_named_is_asked_for(workplace: Path, tmp_path: Path, missing: str) -> None:
    names = {"downstream": "a.csv", "robustness": "b.csv", missing: None}
    with pytest.raises(InputError, match=f"expected --{missing}"):
        run(Replay(out="replay", **names), REPORT)
    assert not Path("replay").exists()


@pytest.mark.slow
def test_the_released_files(workplace: Path, published: tuple[Path, Path]) -> None:
    """What was found twice independently: PAPER's headline is not borne out, and which tables are shifted or swapped."""
    text = replay(*published)
    keyed = {row["selector"]: row for row in rows("selectors.csv") if row["alignment"] == "keyed"}
    expected = {"offline": 0.990, "online": 0.957, "fixed-300": 0.994, "fixed-100": 0.983, "source-accuracy": 0.994}
    assert {name: round(float(keyed[name]["mean_tis"]), 3) for name in expected} == expected
    assert float(keyed["online"]["mean_epochs"]) == approx(32.36, abs=0.01)
    assert float(keyed["online"]["fixed_at_cost"]) > float(keyed["online"]["mean_tis"])
    assert float(keyed["online-keep-stop"]["mean_tis"]) == approx(0.9741, abs=5e-5)  # found independently too
    assert float(keyed["online-keep-stop"]["min_tis"]) == approx(0.867, abs=5e-4)
    assert keyed["online-keep-stop"]["mean_epochs"] == keyed["online"]["mean_epochs"]
    audit = {(row["check"], row["severity"]) for row in rows("audit.csv")}
    assert {("copied-scores", "error"), ("duplicate-rows", "warning"), ("seed-count", "warning")} <= audit
    claims = {row["claim"]: row["holds_keyed"] for row in rows("claims.csv")}
    assert claims["… and than full pretraining"] == "does not hold"
    assert claims["pretraining timed by robustness leads to better downstream performance than training from scratch"] == "holds"
    kinds = [run.params["kind"] for run in tracking.read_runs("replay")]
    assert (kinds.count("finetune"), kinds.count("robustness")) == (1689, 18)
    assert "0.990 (0.9" in text and "Online is worse than full pretraining" in text and "Offline cannot be distinguished" in text
    assert json.loads(Path("replay/metrics.json").read_text())["tis_offline"] == approx(0.9896, abs=1e-4)
