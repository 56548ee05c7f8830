"""Colours of classes in pictures of masks, distinguishable without colour vision."""

from medtransfer.records import IGNORE

CLASSES = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")  # Okabe and Ito
IGNORED = "#999999"


def colour_of(label: int) -> str:
    """Return the colour of a label above 0, as #RRGGBB; of many classes every seventh has the same."""
    return IGNORED if label == IGNORE else CLASSES[(label - 1) % len(CLASSES)]
