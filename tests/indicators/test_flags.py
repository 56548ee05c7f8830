"""Every flag of the reference is in words."""

import re
from pathlib import Path

from medtransfer.indicators.flags import FLAGS, in_words

REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"


def test_the_flags_of_the_reference_are_those_in_words():
    tables = re.findall(r"^\| flag \|.*\n\|-.*\n((?:\|.*\n)+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name for table in tables for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert listed - FLAGS.keys() == set()


def test_flags_are_joined_with_their_counts():
    assert in_words({"nonfinite": 3, "undefined": 1}) == "3 embeddings not finite; it is not defined"
    assert in_words({"rank_deficit": 1}) == "1 channel more than the embeddings span"
    assert in_words({"empty_source_classes": 1000}) == "1,000 source classes predicted nowhere"
    assert in_words({"perfect_fits": 1}).startswith("1 class fitted") and "{" not in in_words(dict.fromkeys(FLAGS, 2))
    assert in_words({}) == "" and in_words({"new_kind": 2}) == "new kind 2"


def test_flags_fit_heads_and_labels_of_either_kind() -> None:
    """A multilabel head exists, but is no softmax; labels of images have no pixels."""
    assert (
        in_words({"no_source_head": 1, "empty_source_classes": 1}) == "there is no softmax head; 1 source class predicted nowhere"
    )
