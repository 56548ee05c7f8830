"""What the flags of scores mean, in words."""

from collections.abc import Mapping

FLAGS = {  # by name; {} is the count; docs/reference/metrics.md says more
    "nonfinite": "{} embeddings are not finite",
    "undefined": "it is not defined",
    "constant": "embeddings or directions do not vary ({})",
    "zero": "{} zero vectors",
    "zero_vectors": "{} zero vectors",
    "empty_classes": "{} classes fill no cell of the level's grid",
    "vanishing_classes": "{} classes lose most of their pixels on the level's grid: take a finer level",
    "one_group_classes": "{} classes have pixels of one patient only",
    "rank_deficit": "{} channels more than the embeddings span",
    "perfect_fits": "{} classes are fitted perfectly, so that the value is at its limit",
    "saturated": "the value is at its limit",
    "fully_shrunk": "the covariance cannot be told from noise",
    "beyond_rank": "{} eigenvalues of the range do not exist",
    "duplicates": "{} embeddings equal another",
    "tied_votes": "{} pixels share their last vote",
    "tied_distances": "{} tied distances",
    "tied_windows": "{} windows with tied distances",
    "floored": "{} variances raised to the floor",
    "flat": "{} embeddings do not vary over the channels",
    "not_converged": "the mixture did not converge",
    "no_source_head": "there is no source head",
    "shared_positions": "{} pixels of the grid share each prediction of the head",
    "empty_source_classes": "{} source classes without a pixel",
    "many_source_classes": "{} source classes, so that fewer pixels are sampled",
    "few_samples": "few samples for the mixture",
    "equal_images": "all images are equal",
    "equal_views": "all views of an image are equal",
    "missing_levels": "the encoder lacks {} levels",
    "levels_without_pairs": "{} levels without two images of one class",
    "collapsed_levels": "{} levels at which every class is one point",
    "collapsed_classes": "every class is one point",
    "overlapping_classes": "{} pairs of classes overlap",
    "images_without_triplets": "{} images without two classes on the grid",
    "few_layers": "the encoder has fewer than two layers of weights",
    "images_without_anchors": "{} images without a boundary on the grid",
}  # fmt: skip


def in_words(flags: Mapping[str, int]) -> str:
    """Describe the flags of a score; empty if there are none."""
    return "; ".join(FLAGS.get(name, name.replace("_", " ") + " {}").format(number) for name, number in flags.items())
