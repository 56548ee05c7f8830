"""The replayed results can be searched: at the released margins only, without copied scores, and as the replay judges them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer import tracking
from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.papers.hidy2024.importing import mark_copies
from medtransfer.papers.hidy2024.searchable import read_replayed
from medtransfer.papers.hidy2024.store import KEY, Released
from medtransfer.search.stage import run

pytestmark = pytest.mark.long

DEFAULT = RobustnessSetting("cosine", 0.5, -2, "frozen")


def read_rows(path: str) -> list[dict[str, str]]:
    with Path(path).open() as handle:
        return list(csv.DictReader(handle))


def test_replayed_results_are_searched_at_their_margins(replayed: tuple[Path, Path]) -> None:
    section = Search.model_validate(
        {"out": "search", "results": "replay", "per_encoder": False, "indicators": ["all"],
         "distances": ["cosine", "l2", "euclidean"],
         "margins": {"low": 0.0, "high": 0.6, "step": 0.1}, "levels": [-1, -2], "poolings": ["frozen"]}
    )  # fmt: skip
    text = run(section, read_replayed(), DEFAULT, 0.95, 0.01).texts[0]
    assert "- The scores hold no distance euclidean: left out of the search." in text
    rows = read_rows("search/trials.csv")
    assert {row["margin"] for row in rows} == {"0.25", "0.5"}
    assert len(rows) == 2 * 2 * 2
    default = next(row for row in rows if (row["distance"], row["margin"], row["level"]) == ("cosine", "0.5", "-2"))
    keyed = {row["selector"]: float(row["mean_tis"]) for row in read_rows("replay/selectors.csv") if row["alignment"] == "keyed"}
    assert float(default["tis"]) == pytest.approx(keyed["offline"], abs=1e-12)
    assert float(default["tis_online"]) == pytest.approx(keyed["online"], abs=1e-12)
    (parent,) = (found for found in tracking.read_runs("search") if tracking.PARENT not in found.tags)
    assert parent.metrics["tis_default"] == pytest.approx(keyed["offline"], abs=1e-12)
    assert parent.params["results"] == "replay"


def test_copied_scores_take_no_part(few_tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    downstream, robustness = few_tables
    group = (robustness[["encoder", "scheme", "target"]] == ["unet", "simple", "acdc"]).all(axis=1)
    copied = robustness.copy()
    copied.loc[group & (copied["epoch"] == 0), "loss"] = copied.loc[group & (copied["epoch"] == 100), "loss"].to_numpy()
    released = Released.of(downstream.drop_duplicates(KEY).assign(run="r"), mark_copies(copied), {})
    cases = read_replayed(released).cases
    assert len(cases) == 24
    for case in cases:
        curves = case.scores[DEFAULT.key(case.mode)]
        assert (0 not in curves) == case.name.startswith("unet simple → acdc, "), case.name
        assert case.measured.margins == {0.25, 0.5, 0.75}
    losses = robustness.set_index(["encoder", "scheme", "target", "distance", "margin", "level", "pooled", "epoch"])["loss"]
    case = next(case for case in cases if case.name == "swin advanced → idrid, full")
    found = case.scores["l2", -1, True][20].robustness(np.array([0.75, 0.25]))
    assert found.tolist() == [1 - losses["swin", "advanced", "idrid", "l2", margin, -1, True, 20] for margin in (0.75, 0.25)]


def test_a_store_without_a_replay_is_named(workplace: Path) -> None:
    with pytest.raises(InputError, match="run `medtransfer replay` first"):
        read_replayed()
