"""Broken params files, overrides and environment names: commands refuse them in one sentence that names the file or key."""

from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.malformed.damage import DAMAGES, DELETED, Row, befallen, text, utf16

pytestmark = pytest.mark.long

LETTERS = "abcdefghijklmnop"
PARAMS, OVER = "params.yaml", "over.yaml"
PAIRS = zip(LETTERS, LETTERS[1:], strict=False)
LAUGHS = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n" for old, new in PAIRS)


def changed(dotted: str, value: Any) -> Callable[[Path], object]:
    """Change one value, or leave it out."""

    def change(path: Path) -> None:
        params = yaml.safe_load(path.read_text())
        *parents, last = dotted.split(".")
        section = reduce(getitem, parents, params)
        section[last] = value
        if value is DELETED:
            del section[last]
        path.write_text(yaml.safe_dump(params))

    return change


FILE_ROWS: list[Row] = [
    *befallen(PARAMS, (name for name in DAMAGES if name not in ("missing", "half", "head", "last byte", "spoilt"))),
    ("params: UTF-16", PARAMS, utf16, "params.yaml"),
    ("params: a list", PARAMS, b"[1, 2]\n", "params.yaml", "list"),
    ("params: two documents", PARAMS, b"a: 1\n---\nb: 2\n", "params.yaml"),
    ("params: a tab", PARAMS, b"study:\n\tseeds: [1]\n", "params.yaml"),
    ("params: an open bracket", PARAMS, b"study: [1, 2\n", "params.yaml"),
    ("params: a bomb of aliases", PARAMS, LAUGHS.encode(), "params.yaml", "alias", "line 2"),
    ("params: a bomb of merges", PARAMS, b"a: &a {x: 1}\nb: &b {<<: [*a, *a, *a]}\n", "params.yaml", "alias"),
    ("params: nested 5,000 maps", PARAMS, b"study: " + b"{a: " * 5000 + b"}" * 5000, "params.yaml"),
    ("params: an alias of itself", PARAMS, b"study: &a [*a]\n", "params.yaml", "alias"),
    ("params: nested 5,000 times", PARAMS, b"study: " + b"[" * 5000 + b"]" * 5000, "params.yaml"),
    ("params: a Python object", PARAMS, b"study: !!python/object/apply:os.system ['touch canary']\n", "params.yaml"),
    ("params: an unknown tag", PARAMS, b"study: !secret 5\n", "params.yaml"),
    ("params: a list for a key", PARAMS, b"? [a, b]\n: 1\n", "params.yaml"),
    ("params: a number for a key", PARAMS, text(lambda old: old + "5: 6\n"), "params.yaml", "5"),
    ("params: a section twice", PARAMS, text(lambda old: old + "study: {}\n"), "params.yaml", "study", "twice"),
    ("params: a key twice", PARAMS, b"study: {seeds: [1], seeds: [2]}\n", "params.yaml", "seeds", "twice"),
    ("params: an impossible date", PARAMS, b"study: 2024-99-99\n", "params.yaml"),
    ("params: bytes", PARAMS, b"study: !!binary |\n  abc\n", "params.yaml"),
    ("params: a number of 5,000 digits", PARAMS, b"study: " + b"9" * 5000 + b"\n", "params.yaml"),
    ("params: a control character", PARAMS, b"study: \x01\n", "params.yaml"),
    ("params: an unset variable", PARAMS, changed("report.out", "${NO_SUCH_NAME}"), "params.yaml", "NO_SUCH_NAME"),
    ("params: an unknown section", PARAMS, changed("studies", {}), "studies", "not a known key"),
    ("params: a key is missing", PARAMS, changed("prepare.targets.heart.root", DELETED), "targets.heart.root", "missing"),
    ("params: an unknown key", PARAMS, changed("finetune.learning_rate", 0.1), "finetune.learning_rate", "not a known key"),
    ("params: a section is nothing", PARAMS, changed("study", None), "study"),
]  # fmt: skip
VALUE_ROWS: list[Row] = [
    (f"{key} is {value!r}"[:60], PARAMS, changed(key, value), *(words or [key]))
    for key, value, *words in (
        ("study.encoders", ["vgg"], "study.encoders", "vgg"), ("study.targets", ["nowhere"], "study.targets", "nowhere"),
        ("study.seeds", "all"), ("study.modes", ["half"]),
        ("study.seeds", [-1]), ("study.seeds", [1.5]), ("study.targets", [["heart"]]), ("samples.patients", 0),
        ("samples.seed", 10**40), ("prepare.target", "../../etc"), ("prepare.target", "a\n"), ("prepare.target", "a" * 300),
        ("prepare.targets", []), ("prepare.targets.heart.subset", "perhaps"), ("prepare.targets.heart.validation", -0.1),
        ("prepare.targets.heart.size", [32, 32, 3]), ("prepare.targets.heart.options", [1]), ("prepare.out", ""),
        ("prepare.out", "split.csv"),
        ("prepare.out", "split.csv/below"), ("prepare.out", "a\0b"), ("pretrain.lr", float("nan")), ("pretrain.lr", float("inf")),
        ("pretrain.lr", -1), ("pretrain.lr", True), ("pretrain.lr", None), ("pretrain.epochs", 0), ("pretrain.epochs", True),
        ("pretrain.epochs", 1.5), ("pretrain.epochs", 10**12), ("pretrain.checkpoints", [7], "pretrain", "checkpoints [7]"),
        ("pretrain.betas", [0.9]), ("pretrain.betas", [0.9, 1.0]), ("pretrain.size", 10**6), ("pretrain.source", "a/b"),
        ("pretrain.origins.advanced.cutmix", 1.5), ("pretrain.origins.advanced.warmup", {"unet": -1}),
        ("pretrain.origins.simple.batch_size", {"unet": 0}), ("pretrain.stop_on", "nowhere", "pretrain.stop_on", "nowhere"),
        ("pretrain.origins.simple", {"kind": "magic"}, "pretrain.origins.simple", "'magic'", "'supervised'"),
        ("pretrain.origins.other", {"weights": "w.pth"}, "pretrain.origins.other", "kind"),
        ("pretrain.origins.simple", {"kind": "file", "weights": {0: "w.pth"}}, "pretrain.origins.simple.weights.0"),
        ("pretrain.origins.simple", {"kind": "file", "weights": {}}, "pretrain.origins.simple.weights"),
        ("pretrain.precision", "64-true"), ("pretrain.accelerator", "tpu"), ("pretrain.devices", 0), ("pretrain.workers", -1),
        ("score.level", 0), ("score.level", -(10**30)), ("score.margins", [0.5, float("nan")]), ("score.max_images", 1),
        ("score.repeats", 0), ("score.negative", "none"), ("score.pooling", "sometimes"), ("finetune.mode", "frozen"),
        ("finetune.epoch", -1), ("finetune.momentum", 1.0), ("finetune.batch_size", "many"), ("finetune.epoch_steps", 0),
        ("grid.launcher", "pbs"), ("grid.gpus", -1), ("report.draws", 1), ("report.confidence", 1.0), ("search.margins.step", 0),
        ("search.margins.low", 2.0, "search.margins"), ("search.distances", []), ("search.levels", [0]),
        ("replay.downstream", 5),
    )
]  # fmt: skip
OVER_ROWS: list[Row] = [
    ("overlay: missing", OVER, lambda path: None, "over.yaml"),
    ("overlay: a list", OVER, b"[1]\n", "over.yaml"),
    ("overlay: not YAML", OVER, b"{", "over.yaml"),
    ("overlay: a bomb of aliases", OVER, LAUGHS.encode(), "over.yaml", "alias"),
    ("overlay: an unknown key", OVER, b"report: {drawings: 5}\n", "over.yaml", "report.drawings"),
    ("overlay: a section of another kind", OVER, b"report: 5\n", "over.yaml", "report"),
    ("overlay: a folder", OVER, lambda path: path.mkdir(), "over.yaml"),
    ("overlay: a link in a circle", OVER, lambda path: path.symlink_to(path.name), "over.yaml"),
    ("overlay: of many faults", OVER, b"report: {out: 1, draws: x, seed: -1, confidence: 2}\n", "4 errors in over.yaml: ",
     "report.out", "report.seed"),
]  # fmt: skip
ROWS = FILE_ROWS + VALUE_ROWS + OVER_ROWS


@pytest.mark.parametrize("row", FILE_ROWS + VALUE_ROWS, ids=lambda row: row[0])
def test_params_are_refused(row: Row, refused: Callable[..., str], place: Path) -> None:
    refused("report", *row[1:])
    assert not (place / "canary").exists()


@pytest.mark.parametrize("row", OVER_ROWS, ids=lambda row: row[0])
def test_an_overlay_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("report --params over.yaml", *row[1:])
