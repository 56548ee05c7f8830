"""Who takes part in a race: checkpoints of ours, and what a ranking prunes."""

import json
from pathlib import Path
from typing import Any

import pytest

from medtransfer.errors import InputError
from medtransfer.race import stage
from medtransfer.race.entrants import Entrant, Pruned, prune, read_entrants

ENTRANTS = [Entrant(f"unet-simple e{epoch:03d}", "unet", "simple", epoch, f"sha{epoch}") for epoch in range(6)]


@pytest.fixture
def ranking(tmp_path: Path):
    """Return a function that writes a ranking of the six candidates by `ridge`."""

    def write(values, kept=(), **changed) -> Path:
        rows = zip(ENTRANTS, values, strict=True)
        scores = [
            {"candidate": e.name, "indicator": name, "value": value, "indistinguishable": e.epoch in kept}
            for e, value in rows for name in ("ridge", "knn")
        ]  # fmt: skip
        candidates = [{"candidate": e.name, "weights": e.weights} for e in ENTRANTS]
        summary = {"target": "sample", "mode": "full", "by": "ridge", "candidates": candidates, "scores": scores, **changed}
        (tmp_path / "ranking.json").write_text(json.dumps(summary))
        return tmp_path / "ranking.json"

    return write


@pytest.mark.parametrize(
    ("values", "kept", "left", "names"),
    [
        ([0.1, 0.2, 0.3, 0.6, 0.5, 0.4], (3,), [3, 4], [5, 2, 1, 0]),  # the best two of six
        ([0.1, 0.2, 0.3, 0.6, 0.5, 0.4], (3, 4, 5, 0), [0, 3, 4, 5], [2, 1]),  # and all that may be the best
        ([0.1, None, 0.3, 0.6, 0.5, 0.4], (3,), [1, 3, 4], [5, 2, 0]),  # who has no value is not judged by it
        ([None] * 6, (), [0, 1, 2, 3, 4, 5], []),
        ([0.3, 0.1 + 0.2, 0.1, 0.6, 0.5, 0.0], (3,), [3, 4], [0, 1, 2, 5]),  # the first two are equal but for rounding
    ],
)
def test_a_ranking_prunes_whom_it_distinguishes_from_its_best(values, kept, left, names, ranking):
    entrants, pruned = prune(ENTRANTS, ranking(values, kept), "sample", "full", eta=3)
    assert [entrant.epoch for entrant in entrants] == left and pruned.kept == len(left)
    assert pruned.by == "ridge" and pruned.names == tuple(ENTRANTS[index].name for index in names)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"target": "other"}, "on sample for the mode full"), ({"mode": "decoder"}, "on sample for the mode full"),
        ({"by": None}, "by an indicator with labels"), ({"scores": []}, "in the ranking"), ({"scores": [{}]}, "damaged"),
    ],
)  # fmt: skip
def test_a_ranking_that_says_nothing_about_the_race_is_refused(changed, match, ranking):
    with pytest.raises(InputError, match=match):
        prune(ENTRANTS, ranking([0.1] * 6, **changed), "sample", "full", eta=3)


@pytest.mark.parametrize(
    ("named", "command"),
    [((), "rank --target sample`"), (("a b", "random"), "rank --target sample --candidates 'a b' random`")],
)  # fmt: skip
def test_a_missing_ranking_says_how_to_make_one(named, command, tmp_path):
    with pytest.raises(InputError, match=f"run `medtransfer {command} with the same candidates first$"):
        prune(ENTRANTS, tmp_path / "ranking.json", "sample", "full", eta=3, named=named)


@pytest.mark.parametrize(
    ("text", "match"),
    [("resnet18", "kind `file`"), ("random@resnet18", "epoch 0 of every folder"), ("nowhere/unet-simple", "there are none")],
)
def test_what_is_no_checkpoint_is_refused_with_the_way_to_import_it(text, match, tiny_params, workplace):
    with pytest.raises(InputError, match=match):
        read_entrants([text], tiny_params())


def test_a_ranking_that_leaves_in_one_is_no_race(monkeypatch: pytest.MonkeyPatch, workplace: Path, tiny_params: Any):
    three = [Entrant(f"e{epoch}", "unet", "simple", epoch, str(epoch)) for epoch in (0, 1, 2)]
    monkeypatch.setattr(stage, "read_entrants", lambda *_: three)
    given: list[Any] = []

    def prune_but_one(entrants: list[Entrant], *others: Any) -> tuple[list[Entrant], Pruned]:
        given.extend(others)
        return entrants[2:], Pruned("ridge", ("e0", "e1"), 1)

    monkeypatch.setattr(stage, "prune", prune_but_one)
    with pytest.raises(InputError, match=r"at least 2 .* after pruning, .* rank/ranking\.json leaves in e2 alone of 3"):
        stage.race(tiny_params({"race.start_from": "rank", "race.candidates": ["checkpoints/a", "checkpoints/b"]}))
    assert given[1:] == ["sample", "full", 3, ["checkpoints/a", "checkpoints/b"]]
