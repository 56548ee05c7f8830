"""Wrong command lines of every command are refused in one sentence that names the option or key.

What a value may be is checked for files in test_params.py; options go the same way.
"""

from collections.abc import Callable

import pytest
from tests.malformed.damage import Row

from medtransfer.cli import cli

pytestmark = pytest.mark.long

WORDS = {"init": 1, "pack": 2}  # that a command takes
ROWS: list[Row] = [
    ("an unknown command", ["prepair"], "prepair"),
    *((f"{name}: an unknown option", [name, "--what", "5"], "--what") for name in sorted(cli.commands)),
    *((f"{name}: a word too many", [name, *["one"] * WORDS.get(name, 0), "more"], "more") for name in sorted(cli.commands)),
    *((f"{name}: params that are not there", [name, "--params", "none.yaml"], "none.yaml")
      for name in sorted(cli.commands) if any(option.name == "files" for option in cli.commands[name].params)),
    ("samples: an option without its value", ["samples", "--seed"], "--seed"),
    ("prepare: an unknown target", ["prepare", "--target", "liver"], "prepare.target", "liver"),
    ("prepare: an open bracket", ["prepare", "--target", "[heart"], "--target"),
    ("prepare: a Python object", ["prepare", "--target", "!!python/object/apply:os.getcwd []"], "--target"),
    ("prepare: an impossible date", ["prepare", "--target", "2024-99-99"], "--target"),
    ("prepare: an option of another command", ["prepare", "--epochs", "3"], "--epochs"),
    ("pretrain: a negative rate", ["pretrain", "--lr", "-0.1"], "pretrain.lr"),
    ("pretrain: nothing for a number", ["pretrain", "--size", ""], "pretrain.size"),
    ("pretrain: a size that the encoder does not take", ["pretrain", "--size", "33", "--out", "sources"], "33"),
    ("pretrain: pictures from nowhere", ["pretrain", "--source-root", "nowhere"], "nowhere"),
    ("score: a level below", ["score", "--level", "-50"], "score.level"),
    ("score: an unknown distance", ["score", "--distance", "manhattan"], "score.distance", "cosine"),
    ("score: an unknown split", ["score", "--split", "dev"], "dev", "index.csv"),
    ("score: a target that was never prepared", ["score", "--target", "mine"], "data", "dataset.json"),
    ("score: checkpoints that were never made", ["score", "--encoder", "swin"], "swin-simple"),
    ("finetune: an epoch that was not saved", ["finetune", "--epoch", "250"], "250"),
    ("finetune: a list with a hole", ["finetune", "--seed", "1,,2"], "--seed", "1,,2"),
    ("finetune: a list with a word", ["finetune", "--seed", "1,two"], "finetune.seed"),
    ("finetune: an unknown mode", ["finetune", "--mode", "full,half"], "finetune.mode"),
    ("finetune: no validation samples", ["finetune", "--select", "validation", "--seed", "3"], "validation", "data"),
    ("finetune: a precision of GPUs", ["finetune", "--precision", "16-mixed"], "precision"),
    ("score: margins nested 3,000 times", ["score", "--margins", "[" * 3000], "--margins"),
    ("pretrain: a key twice in an option", ["pretrain", "--weight-decay", "{a: 1, a: 2}"], "--weight-decay", "twice"),
    ("samples: a name that is too long", ["samples", "--out", "x" * 300], "samples.out", "too long"),
    ("score: a million repeats", ["score", "--repeats", "1000000"], "score.repeats"),
    ("grid: a million workers", ["grid", "--workers", "1000000"], "grid.workers"),
    ("report: a billion draws", ["report", "--draws", "1000000000"], "report.draws"),
    ("search: margins the wrong way round", ["search", "--margins", "{low: 1, high: 0, step: 0.1}"], "search.margins"),
    ("search: too many margins", ["search", "--margins", "{low: 0, high: 1, step: 1e-9}"], "search.margins"),
    ("search: a distance that nobody knows", ["search", "--distances", "[manhattan]"], "manhattan"),
    ("search: replayed results that are not there", ["search", "--results", "replay"], "replay"),
    ("replay: no files", ["replay"], "downstream"),
    ("replay: one file", ["replay", "--downstream", "split.csv"], "robustness"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused(row[1], ".", lambda path: None, *row[2:])
