"""Adopting a winner changes four values of params.yaml and not a byte beside them."""

import difflib
from pathlib import Path

import pytest

from medtransfer.config import load_params
from medtransfer.errors import InputError
from medtransfer.search.adopt import adopt
from medtransfer.search.evaluate import Setting

PARAMS = Path(__file__).parents[2] / "params.yaml"
WINNER = Setting("pearson", 0.3745401188, -1, "never")


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


def test_only_the_four_lines_of_the_project_change(tmp_path: Path):
    before = PARAMS.read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(before, encoding="utf-8")
    adopt(path, WINNER)
    after = path.read_text(encoding="utf-8")
    assert [line for line in changed_lines(before, after) if line[0] == "+"] == [
        "+   distance: pearson                 # the default setting, logged as the metric `robustness`",
        "+   margin: 0.3745401188",
        "+   level: -1",
        "+   pooling: never                    # frozen: pooled where the encoder is frozen downstream | always | never",
    ]
    assert len(changed_lines(before, after)) == 8
    score = load_params([path], {}).score
    assert Setting(score.distance, score.margin, score.level, score.pooling) == WINNER
    adopt(path, Setting("cosine", 0.5, -2, "frozen"))
    assert path.read_bytes() == before.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score: {distance: cosine, margin: 0.5, level: -2, pooling: frozen}  # one line\n",
         "score: {distance: pearson, margin: 0.3745401188, level: -1, pooling: never}  # one line\n"),
        ('other:\n- &a  null\r\nscore:\r\n      pooling:   "frozen"   # why\r\n      level: -2\r\n      margin: 1e-1 # short\r\n'
         "      distance: cosine",
         "other:\n- &a  null\r\nscore:\r\n      pooling:   never      # why\r\n      level: -1\r\n"
         "      margin: 0.3745401188 # short\r\n      distance: pearson"),
    ],
)  # fmt: skip
def test_other_ways_of_writing_stay(tmp_path: Path, text: str, expected: str):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode())
    adopt(path, WINNER)
    assert path.read_bytes().decode() == expected


LACKING = ["", "score: 3\n", "score: {distance: cosine, margin: 0.5, level: -2}\n", "score: {distance: [], margin: 1, level: 1}\n"]


@pytest.mark.parametrize("text", LACKING)
def test_a_file_without_the_keys_is_refused_and_stays(tmp_path: Path, text: str):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"expected score\.\w+ in .*params.yaml"):
        adopt(path, WINNER)
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["params.yaml"]


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="params.yaml, but it cannot be read"):
        adopt(tmp_path / "params.yaml", WINNER)
