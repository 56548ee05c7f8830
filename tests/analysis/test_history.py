"""The baseline `history`, by hand-made tables and on printed ones."""

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.analysis.test_judge import SAMPLING, pool
from tests.evidence.rows import row, weights

from medtransfer.analysis.history import History, history, over_targets, with_history
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.summary import analyse
from medtransfer.hashing import digest

A, B, C = weights("a"), weights("b"), weights("c")
TABLE = [  # on the moon a is best, on the sun b; on mars c was fine-tuned alone
    row("a", "moon", 0.8), row("b", "moon", 0.6), row("a", "sun", 0.4), row("b", "sun", 0.5), row("c", "sun", 0.25),
    row("c", "mars", 0.9),
]  # fmt: skip


def found(target: str = "earth", rows: list = TABLE, mode: str = "full", least: float = 0.1, metric: str = "dice") -> dict:
    return history([A, B, C], [digest(target)], rows, metric=metric, mode=mode, least=least)


def test_the_value_is_the_mean_tis_on_the_other_targets() -> None:
    result = found()
    assert list(result) == [A, B, C]
    assert (result[A].value, result[A].targets) == (pytest.approx((1 + 0.8) / 2), 2)
    assert (result[B].value, result[B].targets) == (pytest.approx((0.75 + 1) / 2), 2)
    assert result[A].error == pytest.approx(0.2 / 2)  # half the difference of two values
    assert result[C] == History(0.5, 1, None)


def test_the_present_target_says_nothing() -> None:
    assert found("moon") == {A: History(0.8, 1, None), B: History(1.0, 1, None), C: History(0.5, 1, None)}
    assert found("sun") == {A: History(1.0, 1, None), B: History(pytest.approx(0.75), 1, None), C: History(None, 0, None)}


@pytest.mark.parametrize("changed", [{"raw": "f" * 12}, {"target": "clinic"}])
def test_neither_does_the_present_target_at_another_size_or_under_its_name(changed: dict[str, str]) -> None:
    rows = [replace(r, **changed) if r.data == digest("sun") else r for r in TABLE]
    ids = [digest("sun at another size"), *changed.values()]
    assert history([A, B, C], ids, rows, metric="dice", mode="full", least=0.1) == found("sun")


def test_two_sizes_of_one_target_count_once() -> None:
    rows = [*(replace(r, raw="f" * 12) if r.data == digest("sun") else r for r in TABLE),
            row("a", "sun, large", 0.6, raw="f" * 12), row("b", "sun, large", 0.6, raw="f" * 12)]  # fmt: skip
    assert found(rows=rows)[A] == History(pytest.approx((1 + (0.8 + 1) / 2) / 2), 2, pytest.approx(0.1 / 2))


@pytest.mark.parametrize("changed", [{"mode": "decoder"}, {"protocol": digest("other")}, {"metric": "auc"}])
def test_outcomes_of_another_mode_protocol_or_metric_are_not_compared(changed: dict[str, str]) -> None:
    rows = [row("a", "moon", 0.8), row("b", "moon", 0.4, **changed)]
    assert set(found(rows=rows).values()) == {History(None, 0, None)}


def test_where_nothing_was_learned_nothing_is_said() -> None:
    rows = [row("a", "moon", 0.05), row("b", "moon", 0.1), row("a", "sun", 0.0), row("b", "sun", -0.2)]
    assert found(rows=rows)[A].value is None
    assert found(rows=rows, least=0.0)[A] == History(0.5, 1, None)
    assert found(rows=[])[A].value is None


def test_a_candidate_without_a_digest_is_found_by_its_name() -> None:
    rows = [row("a", "moon", 0.8, epoch=5), row("b", "moon", 0.6, epoch=10)]
    names = ["unet-simple/epoch-005", "unet-simple/epoch-010"]
    result = history(names, [], rows, metric="dice", mode="full", least=0.0)
    assert result == {names[0]: History(1.0, 1, None), names[1]: History(pytest.approx(0.75), 1, None)}


# A pool's score: pools of the same weights and mode on three targets; each sees the two others.
MEANS: dict[str, Mapping[int, float]] = {
    "moon": {1: 0.50, 5: 0.80, 10: 0.40}, "sun": {1: 0.60, 5: 0.30, 10: 0.60}, "mars": {1: 0.10, 5: 0.20, 10: 0.20},
}  # fmt: skip


def pools(**changed: str) -> list[Pool]:
    return [of(target, means, **changed) for target, means in MEANS.items()]


def of(target: str, means: Mapping[int, float], **changed: str) -> Pool:
    made = pool(name=target)
    fields = {**made.fields, "target": target, **changed}
    outcome = {(epoch, seed): value for epoch, value in means.items() for seed in (1, 2)}
    digests = {**made.digests, "data": target}
    return replace(made, fields=fields, digests=digests, outcome=outcome, candidates=tuple(means), scores={})


def test_a_pool_is_scored_by_its_weights_on_the_other_targets() -> None:
    moon, sun, mars = with_history(pools(), 0.1)
    assert moon.scores["history"] == pytest.approx({1: (1 + 0.5) / 2, 5: (0.5 + 1) / 2, 10: 1.0}) and moon.other_targets == 2
    assert sun.scores["history"] == pytest.approx({1: (0.625 + 0.5) / 2, 5: 1.0, 10: (0.5 + 1) / 2})
    assert with_history(pools(), 0.2)[0].scores["history"] == pytest.approx({1: 1.0, 5: 0.5, 10: 1.0})  # mars learned nothing
    verdicts = {judged.pool.fields["target"]: judged.by_selector["history"] for judged in analyse(pools(), [], SAMPLING).judged}
    assert {target: verdict.candidate for target, verdict in verdicts.items()} == {"moon": 10, "sun": 5, "mars": 1}
    assert verdicts["moon"].tis == pytest.approx(0.5) and not [line for line in mars.missing if "history" in line]


def test_without_another_target_there_is_no_history() -> None:
    alone = with_history(pools()[:1], 0.1)
    assert "history" not in alone[0].scores and alone[0].other_targets == 0
    twice = [*pools()[:1], *pools(mode="decoder")[1:2], *pools(encoder="swin")[2:]]  # another mode, another encoder
    assert all("history" not in one.scores for one in with_history(twice, 0.1))
    assert "history" not in analyse(pools()[:1], [], SAMPLING).by_selector
    incomplete = replace(pools()[1], candidates=(1, 5, 10, 20))
    assert "history" not in with_history([pools()[0], incomplete], 0.1)[0].scores


# Printed results.
def printed(name: str) -> dict[str, dict[str, float]]:
    """Return a printed table, value by row and column; without it the test is reported as skipped by name."""
    path = Path(os.environ.get("MEDTRANSFER_PRINTED", ""), f"{name}.csv")
    if not path.is_file():
        pytest.skip(f"MEDTRANSFER_PRINTED names no folder with {name}.csv")
    table: dict[str, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as handle:
        for line in csv.DictReader(handle):
            table.setdefault(line["row"], {})[line["column"]] = float(line["value"])
    return table


def test_history_on_a_printed_table_is_what_a_loop_over_it_says() -> None:
    """Five initialisations on four datasets, at the size F. Source: Truong et al. 2021, Table 2."""
    table = printed("truong-table2")
    values: dict[str, dict[str, float]] = {}
    for name, columns in table.items():
        dataset, method = name.split("/")
        values.setdefault(dataset, {})[method] = columns["F"]
    for present in values:
        others = {dataset: [outcome] for dataset, outcome in values.items() if dataset != present}
        for method, summary in over_targets(others, 0.0).items():
            shares = [outcome[method] / max(outcome.values()) for [outcome] in others.values()]
            assert (summary.value, summary.targets) == (pytest.approx(sum(shares) / 3), 3)
            assert summary.error == pytest.approx(np.std(shares, ddof=1) / 3**0.5)


class _Counted(list[str]):
    """Counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return super().__iter__()


def test_the_candidates_are_not_gone_through_for_each_row() -> None:
    candidates = _Counted([A, B, C])
    assert history(candidates, [digest("moon")], TABLE, metric="dice", mode="full", least=0.1) == found("moon")
    assert candidates.passes == 2  # to look them up, and to answer
