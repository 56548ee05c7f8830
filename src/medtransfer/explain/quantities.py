"""What is looked at of a checkpoint at each level of its encoder."""

from dataclasses import dataclass

ROBUSTNESS, CKA = "robustness", "cka"


@dataclass(frozen=True)
class Quantity:
    """A number by checkpoint and level.

    Attributes:
        label: name in texts and pictures.
        meaning: what it is, and of which features.
    """

    label: str
    meaning: str


QUANTITIES = {
    ROBUSTNESS: Quantity(
        "robustness", "the stored score, at its default distance and margin; features flattened, or pooled where the encoder is "
        "frozen downstream",
    ),
    "variance": Quantity(
        "variance", "of the embeddings of pixels, mean over channels; it grows with the square of the features’ scale"
    ),
    "effective_rank": Quantity(
        "effective rank", "RankMe of the centred embeddings of pixels: how many directions their spread fills, at most the number "
        "of channels",
    ),
    "alignment": Quantity(
        "alignment", "minus the mean squared distance of two jittered views of an image, pooled and of length 1; 0 is the highest"
    ),
    "uniformity": Quantity(
        "uniformity", "minus the logarithm of the mean Gaussian kernel of pairs of images, pooled and of length 1: 0 if all are "
        "alike, higher the more evenly they spread",
    ),
    CKA: Quantity(
        "CKA to the last", "linear CKA (unbiased HSIC) of the embeddings of the same pixels in this and in the last checkpoint: "
        "1 there by definition, so it mostly rises with the epoch",
    ),
}  # fmt: skip
GEOMETRY = tuple(name for name in QUANTITIES if name != ROBUSTNESS)  # those that need a pass over the images
