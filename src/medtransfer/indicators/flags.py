"""What the flags of scores mean, in words."""

from collections.abc import Mapping

FLAGS = {  # by name; {} is the count
    "nonfinite": "{} embeddings are not finite",
    "zero": "{} embeddings are zero",
    "constant": "the embeddings do not vary",
    "undefined": "it is not defined",
    "empty_classes": "{} classes fill no cell of the level's grid",
    "vanishing_classes": "{} classes lose most of their pixels on the level's grid: take a finer level",
    "rank_deficit": "fewer embeddings than channels",
    "perfect_fits": "{} classes are fitted perfectly, so that the value is at its limit",
    "saturated": "the value is at its limit, since there are fewer embeddings than channels",
}  # fmt: skip


def in_words(flags: Mapping[str, int]) -> str:
    """Describe the flags of a score; empty if there are none."""
    return "; ".join(FLAGS.get(name, name.replace("_", " ") + " {}").format(number) for name, number in flags.items())
