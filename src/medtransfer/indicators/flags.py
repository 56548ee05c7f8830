"""What the flags of scores mean, in words."""

import re
from collections.abc import Mapping

from medtransfer.wording import counted

FLAGS = {  # by name; {things} is their count, such as `1 class` or `2 classes`; docs/reference/metrics.md says more
    "nonfinite": "{embedding} not finite",
    "undefined": "it is not defined",
    "constant": "embeddings or directions do not vary ({time})",
    "zero": "{zero vector}",
    "zero_vectors": "{zero vector}",
    "undefined_labels": "{label} left out, without a value in the sample or without a block of patients",
    "empty_classes": "{class} without an embedding",
    "vanishing_classes": "{class} with most pixels lost on the level's grid: take a finer level",
    "one_group_classes": "{class} of one patient only",
    "rank_deficit": "{channel} more than the embeddings span",
    "perfect_fits": "{class} fitted perfectly, so that the value is at its limit",
    "saturated": "the value is at its limit",
    "fully_shrunk": "the covariance cannot be told from noise",
    "beyond_rank": "{eigenvalue} of the range beyond the rank",
    "duplicates": "{embedding} equal to another",
    "tied_votes": "{embedding} with a shared last vote",
    "tied_distances": "{tied distance}",
    "tied_windows": "{window} with tied distances",
    "floored": "{variance} raised to the floor",
    "flat": "{embedding} without variation over the channels",
    "not_converged": "the mixture did not converge",
    "no_source_head": "there is no softmax head",
    "shared_positions": "{pixel} of the grid to each prediction of the head",
    "empty_source_classes": "{source class} predicted nowhere",
    "many_source_classes": "{source class}, so that fewer pixels are sampled",
    "few_samples": "few samples for the mixture",
    "equal_images": "all images are equal",
    "equal_views": "all views of an image are equal",
    "missing_levels": "{level} missing from the encoder",
    "levels_without_pairs": "{level} without two images of one class",
    "collapsed_levels": "{level} at which every class is one point",
    "collapsed_classes": "every class is one point",
    "overlapping_classes": "{pair} of classes that overlap",
    "images_without_triplets": "{image} without two classes on the grid",
    "few_layers": "the encoder has fewer than two layers of weights",
    "images_without_anchors": "{image} without a boundary on the grid",
}  # fmt: skip
NOUN = re.compile(r"{(.+?)}")


def in_words(flags: Mapping[str, int]) -> str:
    """Describe the flags of a score; empty if there are none."""
    return "; ".join(_in_words(name, number) for name, number in flags.items())


def _in_words(name: str, number: int) -> str:
    if name not in FLAGS:
        return f"{name.replace('_', ' ')} {number}"
    return NOUN.sub(lambda noun: counted(number, noun[1]), FLAGS[name])
