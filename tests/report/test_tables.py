"""The rows of the tables: every number where it belongs, as CSV and as Markdown."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from medtransfer.analysis.model import Analysis
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.report import page_sections, tables, verdict_text
from medtransfer.selectors.selectors import CONTRASTED

Make = Callable[..., Analysis]
ROWS = [tables.dice_rows, tables.tis_rows, tables.selector_rows, tables.contrast_rows]


@pytest.mark.parametrize("rows", ROWS)
def test_rows_share_their_keys_and_survive_csv(rows: Callable[[Analysis], list[tables.Row]], paperlike: Analysis, broken: Analysis):
    for analysis in (paperlike, broken):
        found = rows(analysis)
        assert len({tuple(row) for row in found}) <= 1
        assert len(list(csv.DictReader(io.StringIO(as_csv(found))))) == len(found)


def test_a_row_of_dice_holds_all_that_is_known(small: Analysis):
    one = small.judged[0].candidates[2]
    row = tables.dice_rows(small)[2]
    assert row == {
        "source": "imagenet", "origin": "simple", "encoder": "unet", "target": "acdc", "mode": "full",
        "configuration": "unet simple → acdc, full", "metric": "dice", "epoch": 5, "dice_mean": one.mean, "dice_std": one.std,
        "seeds": 2,
        "dice_low": one.interval and one.interval[0], "dice_high": one.interval and one.interval[1],
        "p_best": one.p_best, "within_noise": one.within_noise, "robustness": one.robustness,
        "robustness_low": one.robustness_interval and one.robustness_interval[0],
        "robustness_high": one.robustness_interval and one.robustness_interval[1], "robustness_rise": 0.02,
        "robustness_rise_error": 0.004, "source_accuracy": one.scores["source_accuracy"],
    }  # fmt: skip


def test_what_is_unknown_is_an_empty_field(broken: Analysis):
    row = next(csv.DictReader(io.StringIO(as_csv(tables.dice_rows(broken)))))
    assert [row[name] for name in ("robustness", "p_best", "dice_low", "dice_std", "within_noise")] == [""] * 5


def test_a_rise_over_a_single_group_has_no_error(small: Analysis):
    one = replace(small.judged[0].candidates[2], rise=(0.02, None), score_intervals={})
    judged = replace(small.judged[0], candidates=(one,))
    row = next(csv.DictReader(io.StringIO(as_csv(tables.dice_rows(replace(small, judged=(judged,)))))))
    assert (row["robustness_rise"], row["robustness_rise_error"], row["robustness_low"]) == ("0.02", "", "")
    page = str(page_sections.configurations(replace(small, judged=(judged,))))
    assert "+0.020<" in page and "nan" not in page


def test_a_row_of_tis_names_ties_and_its_interval(small: Analysis):
    one = small.judged[0]
    tied = replace(one, verdicts=(replace(one.verdicts[0], tied=(5, 10)), *one.verdicts[1:]))
    row = tables.tis_rows(replace(small, judged=(tied,)))[0]
    assert (row["selector"], row["tied"], row["tis"]) == ("offline", "5 10", one.verdicts[0].tis)
    assert (row["tis_low"], row["tis_high"]) == one.verdicts[0].interval
    assert "tied)" in tables.tis_table(replace(small, judged=(tied,)))[0]["robustness, offline"]


def test_selectors_and_contrasts(paperlike: Analysis):
    offline = tables.selector_rows(paperlike)[0]
    assert (offline["selector"], offline["configurations"], offline["mean_epochs"]) == ("offline", 36, 300)
    assert (offline["tis_low"], offline["tis_high"]) == paperlike.summaries[0].interval
    outcomes = {(row["first"], row["second"]): row["outcome"] for row in tables.contrast_rows(paperlike)}
    assert outcomes["offline", "none"] == "better"
    assert set(outcomes.values()) <= {"better", "worse", "equivalent", "undecided"}
    assert len(outcomes) == sum(len(selector.against) for selector in CONTRASTED)


def test_with_two_seeds_the_best_has_no_probability_and_with_three_it_has(make: Make):
    assert {row["p_best"] for row in tables.dice_rows(make(1, 2))} == {None}
    assert sum(row["p_best"] for row in tables.dice_rows(make(1, 3))) == pytest.approx(1)


def test_what_is_chosen_by_outcomes_has_no_interval(paperlike: Analysis):
    found = {row["selector"]: row for row in tables.tis_rows(paperlike)}
    assert (found["oracle"]["tis"], found["oracle"]["tis_low"], found["oracle"]["tis_high"]) == (1.0, None, None)
    assert all(row["tis_low"] is not None for name, row in found.items() if name != "oracle" and not row["fine_tunings"])
    assert {name: row["fine_tunings"] for name, row in found.items() if row["fine_tunings"]} == {
        "one-each": 10, "one-each-last5": 5, "two-seeds": 20, "race": 16,
    }  # fmt: skip


def test_means_over_few_pretrainings_have_no_interval_and_decide_nothing(small: Analysis, paperlike: Analysis):
    """The 2 configurations are of one pretraining, the 36 of six pretrainings on three targets."""
    for row in tables.selector_rows(small):
        assert (row["clusters"], row["tis_low"], row["tis_high"]) == (1, None, None)
    for row in tables.contrast_rows(small):
        assert (row["p"], row["p_holm"], row["difference_low"], row["detectable"], row["outcome"]) == (*[None] * 4, "undecided")
    assert {row["clusters"] for row in tables.selector_rows(paperlike) + tables.contrast_rows(paperlike)} == {6}
    for row in tables.contrast_rows(paperlike):
        clear = row["difference_low"] > 0 or row["difference_high"] < 0
        assert (row["p"] < 0.05) == clear == (row["outcome"] in ("better", "worse"))
        assert row["p_holm"] >= row["p"] and row["detectable"] > 0


def test_each_pretraining_that_serves_all_runs_to_the_longest_stop(paperlike: Analysis):
    online = next(row for row in tables.selector_rows(paperlike) if row["selector"] == "online")
    spent: dict[tuple[str, str], list[float]] = {}
    for row in tables.tis_rows(paperlike):
        if row["selector"] == "online":
            spent.setdefault((row["encoder"], row["origin"]), []).append(row["epochs_spent"])
    assert online["shared_epochs"] == pytest.approx(sum(map(max, spent.values())) / 6)
    assert online["mean_epochs"] == pytest.approx(sum(map(sum, spent.values())) / 36)


def test_the_terminal_shows_the_verdict_and_one_small_table(paperlike: Analysis, broken: Analysis):
    text = tables.brief(paperlike)
    head, _, table = text.partition("\n\n| ")
    assert head == verdict_text.verdict(paperlike)
    plain = [summary for summary in paperlike.summaries if not summary.selector.length]
    assert "no pretraining" in {summary.selector.label for summary in plain}
    assert len(table.splitlines()) == 2 + len(plain) and max(map(len, table.splitlines())) < 120
    for line, summary in zip(table.splitlines()[2:], plain, strict=True):
        assert summary.selector.label in line and f" {summary.mean_tis:.3f} " in line
    assert "| no pretraining " in tables.short(paperlike) and "always epoch" not in tables.short(paperlike)
    assert "\n\n- 2 of 3 configurations could not be judged.\n" in tables.brief(broken)
    nothing = replace(broken, judged=(), summaries=(), contrasts=())
    assert tables.brief(nothing) == "There are no configurations, so there is no verdict."


def test_nothing_judged_gives_no_rows(broken: Analysis):
    nothing = replace(broken, judged=(), summaries=(), contrasts=())
    assert [rows(nothing) for rows in ROWS] == [[], [], [], []]
    assert as_csv([]) == "empty\n"
    assert "# T" in tables.markdown(nothing, "T")


def test_the_markdown_has_the_content_of_the_page(paperlike: Analysis):
    text = tables.markdown(paperlike, "Which checkpoint")
    assert text.startswith("# Which checkpoint\n\n**Over 36 configurations")
    for heading in ("Ways of choosing", "Compared on the same configurations", "TIS by configuration", "Data and settings"):
        assert f"\n## {heading}" in text
    ways, compared = text.split("\n## Ways of choosing\n")[1].split("\n## Compared on the same configurations\n")[:2]
    for summary in paperlike.summaries:
        assert f"\n| {summary.selector.label} " in ways
    for contrast in paperlike.contrasts:
        assert f"\n| {contrast.first.label} " in compared and f"| {contrast.second.label} " in compared
    for one in paperlike.judged:
        assert f"\n## {one.name}\n" in text
        point = one.candidates[3]
        assert f"{point.mean:.3f} ± {point.std:.3f}" in text


def test_the_markdown_names_what_is_missing(broken: Analysis):
    text = tables.markdown(broken, "T")
    assert "- flat simple → acdc, full: no robustness of epoch 10" in text
    assert "Not judged: all checkpoints have the same mean Dice, 0.000, so every choice is the best." in text
    assert "- <script>alert(1)</script>: 1 of 4 epochs fine-tuned" in text
    assert "nan" not in text


@pytest.mark.parametrize("first", [{"a": 1.0, "name": "x"}, {"a": None, "name": "long name"}, {"a": float("nan"), "name": "a|b"}])
def test_markdown_is_aligned(first: dict[str, object]):
    lines = as_markdown([first, {"a": 0.123456, "name": "y"}]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].count(":|") == 1  # numbers to the right
    assert "0.123 |" in lines[3]


def test_cells_of_markdown():
    assert as_markdown([{"a": True, "b": -0.0001, "c": "x|y", "d": -0.5}]).splitlines()[2] == "| yes | 0.000 | x\\|y | −0.500 |"


def test_a_table_without_rows_is_said_to_be_empty() -> None:
    assert as_markdown([]) == "none"


def test_many_further_ways_are_folded(paperlike: Analysis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "MOST_FURTHER", 1)
    text, further = tables.brief(paperlike), [summary for summary in paperlike.summaries if summary.selector.further]
    low, high = sorted(further, key=lambda summary: summary.mean_tis)
    expected = f"2 further ways, on the page: mean TIS {low.mean_tis:.3f} ({low.selector.label}) to {high.mean_tis:.3f} "
    assert expected in text and f"| {low.selector.label} " not in text
    page = page_sections.selectors(paperlike)
    shown, _, folded = page.partition("<details")
    assert "2 further ways" in folded and low.selector.label in folded and low.selector.label not in shown
