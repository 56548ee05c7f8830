"""Keys of `medtransfer indicators`: the arrays that each indicator needs, and the function that computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medtransfer.registry import Registry

FILES = {
    "features": "embeddings (N, D), one row per sample, or V >= 2 views of each, (N, V, D), the first of which are the samples",
    "features2": "second view of each sample, (N, D), or V >= 2 views of each, (N, V, D)",
    "labels": "class of each sample, whole numbers (N,)",
    "label_embeddings": "embeddings of the classes 0 to C - 1, such as those of their names, (C, E) or K kinds (K, C, E)",
    "groups": "group of each sample, of maps of each image, such as its patient, whole numbers; without it each is its own",
    "probs": "probabilities (N, Z) of the source model's classes",
    "maps": "feature maps (n, D, h, w), one per image",
    "masks": "class of each pixel, whole numbers (n, H, W), H >= h, W >= w; 0: background | 255: ignored",
}  # by option
QUADRATIC = 5000  # samples up to which indicators are computed whose memory grows with the square of their number
LEARNED = 1000  # samples up to which distances are learned
PAIRED = 50_000  # pixels up to which the classes of every two images are compared
OWN = "medtransfer.indicators"
ADAPTED = f"{OWN}.from_arrays"


def option(name: str) -> str:
    """Return the option of the command for a key of FILES."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class ArrayIndicator:
    """An indicator of arrays.

    Attributes:
        arguments: names of the arrays that its function takes: keys of FILES, or `views` (N, V, D), `pair` (the second views),
            `all_views` (N, V, D), which is one view without second ones, `samples` and `images` (the groups of either).
        function: address of a function of these arrays that returns a value, NaN where it is not defined, and flags.
        says: what its value is.
        options: further arguments of the function.
        most: samples, or pixels, at most; None for any number.
    """

    arguments: tuple[str, ...]
    function: str
    says: str
    options: Mapping[str, Any] = field(default_factory=dict)
    most: int | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Files that it needs."""
        derived = {
            "views": ("features", "features2"),
            "pair": ("features2",),
            "all_views": ("features",),
            "samples": (),
            "images": (),
        }
        return tuple(file for name in self.arguments for file in derived.get(name, (name,)))


FEATURES, LABELLED, PROBABILITIES, MASKED = ("features",), ("features", "labels"), ("probs", "labels"), ("maps", "masks")
KEYS = {
    "logme": ArrayIndicator(LABELLED, f"{OWN}.logme:logme", "evidence of the labels under a Bayesian linear model"),
    "leep": ArrayIndicator(PROBABILITIES, f"{OWN}.leep:leep", "log likelihood of the labels given the source model's classes"),
    "nce": ArrayIndicator(PROBABILITIES, f"{OWN}.leep:nce", "minus the entropy of the labels given the likeliest source class"),
    "nleep": ArrayIndicator(LABELLED, f"{OWN}.nleep:nleep", "LEEP of the components of a Gaussian mixture"),
    "hscore": ArrayIndicator(LABELLED, f"{OWN}.hscore:hscore", "variance between classes relative to the covariance"),
    "hscore_reg": ArrayIndicator(LABELLED, f"{OWN}.hscore:hscore_reg", "the same with a shrunk covariance (Ledoit and Wolf)"),
    "transrate": ArrayIndicator(LABELLED, f"{OWN}.transrate:transrate", "coding rate of all samples minus that within classes"),
    "gbc": ArrayIndicator(LABELLED, f"{OWN}.gbc:gbc", "minus the overlap of spherical Gaussians of the classes"),
    "gbc_diag": ArrayIndicator(LABELLED, f"{OWN}.gbc:gbc", "the same with diagonal Gaussians", {"diagonal": True}),
    "rankme": ArrayIndicator(FEATURES, f"{OWN}.spectrum:rankme", "effective rank of centred features", {"centre": True}),
    "rankme_raw": ArrayIndicator(FEATURES, f"{OWN}.spectrum:rankme", "the same, not centred, as published", {"centre": False}),
    "nesum": ArrayIndicator(FEATURES, f"{OWN}.spectrum:nesum", "sum of the covariance's eigenvalues over the largest"),
    "pr": ArrayIndicator(FEATURES, f"{OWN}.spectrum:participation_ratio", "participation ratio of these eigenvalues"),
    "alpha": ArrayIndicator(FEATURES, f"{ADAPTED}:alpha_of_all", "decay of all these eigenvalues; best near 1"),
    "uniformity": ArrayIndicator(
        ("all_views",), f"{OWN}.uniformity:uniformity_of_views", "spread of directions over the sphere", most=QUADRATIC
    ),
    "alignment": ArrayIndicator(("features", "pair"), f"{OWN}.alignment:alignment", "minus the distance between two views"),
    "selfcluster": ArrayIndicator(FEATURES, f"{OWN}.selfcluster:selfcluster", "0: directions are uniform, -1: all are one"),
    "twonn": ArrayIndicator(FEATURES, f"{OWN}.twonn:twonn", "intrinsic dimension; lower is better", most=QUADRATIC),
    "lidar": ArrayIndicator(("views",), f"{OWN}.lidar:lidar", "effective rank of what distinguishes samples from views"),
    "dse": ArrayIndicator(LABELLED, f"{ADAPTED}:dse_of_classes", "dense representation structure, with classes for clusters"),
    "fr": ArrayIndicator(
        LABELLED, f"{OWN}.friedman_rafsky:friedman_rafsky", "separation by a spanning tree; 0: chance", most=QUADRATIC
    ),  # fmt: skip
    "grtd": ArrayIndicator(LABELLED, f"{OWN}.grtd:grtd", "weight of the tree's edges within classes", most=QUADRATIC),
    "ridge_accuracy": ArrayIndicator(
        (*LABELLED, "samples"), f"{ADAPTED}:ridge_accuracy", "accuracy of a linear probe, groups left out", most=QUADRATIC
    ),
    "knn": ArrayIndicator(
        (*LABELLED, "samples"), f"{ADAPTED}:knn_accuracy", "accuracy of nearest neighbours of other groups", most=QUADRATIC
    ),
    "parc": ArrayIndicator(LABELLED, f"{OWN}.parc:parc", "correlation of distances in features and labels", most=QUADRATIC),
    "sfda": ArrayIndicator(LABELLED, f"{OWN}.sfda:sfda", "posterior of the true class after self-challenging Fisher analysis"),
    "ncti": ArrayIndicator(LABELLED, f"{OWN}.ncti:ncti", "nearness of the classes to neural collapse"),
    "emms": ArrayIndicator(LABELLED, f"{OWN}.emms:emms", "minus what a linear model of the features leaves over of the labels"),
    "emms_embedded": ArrayIndicator(
        (*LABELLED, "label_embeddings"), f"{OWN}.emms:emms", "the same of embeddings of the labels, weighted, as published"
    ),
    "ped": ArrayIndicator(LABELLED, f"{OWN}.ped:ped", "SFDA after overlapping classes pushed each other apart"),
    "etran": ArrayIndicator(FEATURES, f"{OWN}.etran:etran", "mean of the logarithm of the sum of exponentials of the features"),
    "nca": ArrayIndicator(
        LABELLED,
        f"{OWN}.neighbourhood:neighbourhood",
        "posterior by nearest neighbours after NCA, a term of gradients",
        most=LEARNED,
    ),
    "ccfv": ArrayIndicator(
        MASKED, f"{ADAPTED}:ccfv_of_level", "likeness of classes across images, spread within an image", most=PAIRED
    ),
    "ccfv_raw": ArrayIndicator(MASKED, f"{ADAPTED}:ccfv_of_level", "the same with features as they are", {"raw": True}, PAIRED),
    "lbtc": ArrayIndicator(MASKED, f"{OWN}.lbtc:lbtc", "separation by spanning trees in 3 x 3 windows around boundaries"),
    "lbtc_corrected": ArrayIndicator(MASKED, f"{OWN}.lbtc:lbtc_corrected", "the same relative to chance"),
    "ridge_dice": ArrayIndicator(
        (*MASKED, "images"), f"{ADAPTED}:ridge_dice", "Dice of a linear probe of pixels, groups left out", most=QUADRATIC
    ),
    "knn_dice": ArrayIndicator(
        (*MASKED, "images"), f"{ADAPTED}:knn_dice", "Dice of nearest pixels of other groups", most=QUADRATIC
    ),  # fmt: skip
}
FUNCTIONS: Registry[Any] = Registry({key: indicator.function for key, indicator in KEYS.items()})  # imported when they are used
