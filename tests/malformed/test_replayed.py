"""Broken files of released results: `replay` refuses them in one sentence that names the file and the line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.malformed.damage import Row, befallen, text, utf16

pytestmark = pytest.mark.long

DOWN, ROBUST = "downstream_scores.csv", "robustness_scores.csv"
ANY = ("missing", "empty", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")
TUNED = (
    "model,dataset,pretraining length,ImageNet accuracy,freeze encoder,pretraining scheme,seed,accuracy,balanced accuracy,"
    "sensitivity,specificity,precision,dice index,jaccard index,mcc,modified hausdorff distance,area under roc,"
    "average precision score,mean dice index,mean jaccard index"
)  # fmt: skip
TUNED_LINE = "ResNet50 Attention U-Net,ACDC,1,0.008,False,advanced,123124,0.9,,,,,,,0.8,1.5,0.99,0.9,0.89,0.8"
SCORED = "dataset,metric,margin,encoder,pretraining_scheme,pooled,level,pretraining_length,robustness"
SCORED_LINE = "ACDC,cosine_distance,0.0,resnet50,advanced_training,False,1,0,0.0176"
HEADERS = {DOWN: (TUNED, TUNED_LINE), ROBUST: (SCORED, SCORED_LINE)}


def field(column: str, value: str, line: int = 2) -> Callable[[Path], object]:
    """Change one field; the first line is 1, the header."""

    def change(path: Path) -> None:
        lines = path.read_text().split("\n")
        fields = lines[line - 1].split(",")
        fields[lines[0].split(",").index(column)] = value
        lines[line - 1] = ",".join(fields)
        path.write_text("\n".join(lines))

    return change


def blank_before(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Do a damage, then put two blank lines below the header."""

    def apply(path: Path) -> None:
        change(path)
        head, rest = path.read_text().split("\n", 1)
        path.write_text(f"{head}\n\n\n{rest}")

    return apply


ROBUST_VALUES = {"robustness": ("inf", "nan", "1e999", ""), "level": ("0", "-1", "1.5", "1e300"), "pretraining_length": ("0.5",)}
DOWN_VALUES = {"seed": ("-1", "9" * 400), "mean dice index": ("inf",)}
ROWS: list[Row] = [
    *befallen(DOWN, ANY),
    *befallen(ROBUST, ANY),
    ("a header alone", DOWN, f"{TUNED}\n".encode(), DOWN, "none"),
    ("a column lacks", DOWN, text(lambda said: said.replace("model,", "name,", 1)), DOWN, "model"),
    ("a column twice", ROBUST, text(lambda said: said.replace("margin,", "metric,", 1)), ROBUST, "metric", "twice"),
    ("swapped files", DOWN, f"{SCORED}\n{SCORED_LINE}\n".encode(), DOWN, "swapped"),
    ("the first line is too long", ROBUST, text(lambda said: said.replace("ACDC,", "more,ACDC,", 1)), ROBUST, "line 2", "10"),
    ("the last line is too long", ROBUST, text(lambda said: said.rstrip("\n") + ",more\n"), ROBUST, "line 3", "10"),
    ("the last line is cut off", ROBUST, text(lambda said: said.rstrip("\n")[:-30]), ROBUST, "line 3"),
    ("a word for a number", ROBUST, field("robustness", "high", 3), ROBUST, "line 3", "high"),
    ("a word below blank lines", ROBUST, blank_before(field("robustness", "high", 3)), ROBUST, "line 5", "high"),
    *((f"{column} is {value}"[:40], ROBUST, field(column, value), ROBUST, "line 2", column)
      for column in ROBUST_VALUES for value in ROBUST_VALUES[column]),
    *((f"{column} is {value}"[:40], DOWN, field(column, value), DOWN, "line 2", column)
      for column in DOWN_VALUES for value in DOWN_VALUES[column]),
    ("an unknown encoder", ROBUST, field("encoder", "vgg"), ROBUST, "line 2", "vgg"),
    ("an unknown distance", ROBUST, field("metric", "l7"), ROBUST, "line 2", "l7"),
    ("a path for a dataset", ROBUST, field("dataset", "../../etc/passwd"), ROBUST, "line 2", "passwd"),
    ("a formula", DOWN, field("model", "=cmd|' /C calc'!A0"), DOWN, "line 2"),
    ("a word for an accuracy", DOWN, field("accuracy", "good"), DOWN, "line 2", "good"),
    ("an unknown scheme", DOWN, field("pretraining scheme", "best"), DOWN, "line 2", "best"),
    ("an open quote", DOWN, field("model", '"ResNet50'), DOWN),
    ("a NUL", DOWN, field("model", "a\0b"), DOWN, "line 2"),
    ("UTF-16", DOWN, utf16, DOWN),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, refused: Callable[..., str], place: Path) -> None:
    for name, (header, line) in HEADERS.items():
        (place / name).write_text(f"{header}\n{line}\n{line}\n")
    refused(f"replay --downstream {DOWN} --robustness {ROBUST}", *row[1:])
