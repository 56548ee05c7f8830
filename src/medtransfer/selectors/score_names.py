"""How texts and tables write the names of scores, and what each prefers; one line per indicator."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreName:
    """Name and meaning of a score.

    Attributes:
        label: name in texts and tables.
        prefers: which checkpoint has the best score, after "the checkpoint".
        higher_is_better: whether a higher score is better.
    """

    label: str
    prefers: str
    higher_is_better: bool = True


INDICATOR_NAMES = {  # by name of the indicator; robustness has selectors of its own
    "ridge": ScoreName("ridge probe", "whose embeddings predict the labels of left-out patients best, by ridge regression"),
    "knn": ScoreName("k-NN probe", "whose embeddings predict the labels of left-out patients best, by nearest neighbours"),
    "logme": ScoreName("LogME", "whose embeddings best predict the labels"),
    "hscore_reg": ScoreName("H-score", "whose classes are furthest apart, relative to the shrunk covariance of all"),
    "hscore": ScoreName("plain H-score", "whose classes are furthest apart, relative to the covariance of all"),
    "fr": ScoreName("Friedman–Rafsky", "whose nearest neighbours are most often of one class"),
    "lbtc_corrected": ScoreName("LBTC", "whose classes are best separated at their boundaries, beyond chance"),
    "lbtc": ScoreName("plain LBTC", "whose classes are best separated at their boundaries"),
    "ccfv": ScoreName("CC-FV", "whose classes look alike in all images while its features vary"),
    "ccfv_raw": ScoreName("CC-FV, raw", "whose classes look alike in all images while its features vary, not normalised"),
    "rankme": ScoreName("RankMe", "whose pixel embeddings fill most directions"),
    "uniformity": ScoreName("uniformity", "whose images are spread most evenly over the sphere"),
    "alignment": ScoreName("alignment", "whose views of one image are closest"),
    "nesum": ScoreName("NESum", "whose variance exceeds that of its first direction most"),
    "pr": ScoreName("participation ratio", "whose variance is spread over most directions"),
    "alpha": ScoreName("alpha-ReQ", "whose eigenvalues decay most nearly as 1/rank"),
    "selfcluster": ScoreName("self-cluster", "whose pixel embeddings cluster least"),
    "twonn": ScoreName("TwoNN", "whose pixel embeddings have the lowest intrinsic dimension", higher_is_better=False),
    "lidar": ScoreName("LiDAR", "whose images differ in most directions, beyond their views"),
    "dse": ScoreName("DSE", "whose pixels form clusters that are far apart, tight and of many directions"),
    "transrate": ScoreName("TransRate", "whose embeddings take most space beyond that of their classes"),
    "gbc": ScoreName("GBC", "whose classes overlap least as spherical Gaussians"),
    "gbc_diag": ScoreName("GBC, diagonal", "whose classes overlap least as diagonal Gaussians"),
    "nleep": ScoreName("NLEEP", "whose clusters predict the labels best"),
    "leep": ScoreName("LEEP", "whose source classes predict the labels best, by their probabilities"),
    "nce": ScoreName("NCE", "whose likeliest source class leaves least uncertainty about the labels"),
    "sfda": ScoreName("SFDA", "whose classes a discriminant analysis separates best"),
    "parc": ScoreName("PARC", "whose distances agree best with those of the labels"),
    "ncti": ScoreName("NCTI", "whose classes are nearest to neural collapse"),
    "gradients": ScoreName("gradients", "whose pixels cluster by class and whose second layer would change more than its first"),
    "emms": ScoreName("EMMS", "whose embeddings leave over least of the labels, by linear regression"),
    "ped": ScoreName("PED", "whose classes a discriminant analysis separates best once they pushed each other apart"),
    "etran": ScoreName("ETran", "whose pixel embeddings have the lowest energy"),
    "grtd": ScoreName("GRTD", "whose tree of nearest neighbours is cut least by the classes"),
}  # fmt: skip


def score_sign(name: str) -> int:
    """Return 1 if a higher score is better, else -1."""
    return 1 if name not in INDICATOR_NAMES or INDICATOR_NAMES[name].higher_is_better else -1


def score_label(name: str) -> str:
    """Return how texts and tables write the name of a score."""
    return INDICATOR_NAMES[name].label if name in INDICATOR_NAMES else name.replace("_", " ")
