"""Every classification metric of a test set, from a stream of probabilities and labels, and of draws of its patients.

The labels of an image are exclusive (it has one of C classes) or independent (each of L labels is true, false or unknown; one
label is a binary target). Names of a metric `m`: `m`, the mean over the classes that define it; `m_class_<c>`, that of class c,
counted from 0 as in the labels file, left out where it is undefined or there is a single label. With exclusive classes the AUC
and the sensitivity are those of each class against the others, and `ece` is that of the predicted class.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medtransfer.metrics import classification
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.records import IGNORE
from medtransfer.records.tables import Table

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
THRESHOLD = 0.5
DRAWS, CONFIDENCE = 1000, 0.95  # of the intervals over patients
LEAST_PATIENTS = 6  # below which draws of patients say too little about others, see tests/metrics/test_coverage.py
AT_ONCE = 4_000_000  # weights of images that are held at a time
KEPT = 8_000_000  # images times classes whose rankings are kept, of 16 to 32 bytes each: 256 MB at most
AUC, KAPPA = "auc", "kappa"
SENSITIVITY = f"sensitivity_at_specificity_{round(100 * classification.SPECIFICITY)}"


@dataclass(frozen=True)
class Predicted:
    """Probabilities and labels of N images.

    Attributes:
        probabilities: of each class, (N, C).
        truth: exclusive: the class, (N,); else 0, 1, or IGNORE for unknown, (N, C).
    """

    probabilities: Array
    truth: NDArray[np.int64]

    @property
    def exclusive(self) -> bool:
        """Whether every image has exactly one of the classes."""
        return self.truth.ndim == 1

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    @property
    def decided(self) -> NDArray[np.int64]:
        """The class with the highest probability (N,), or whether each label is above the threshold (N, C)."""
        if self.exclusive:
            return self.probabilities.argmax(axis=1)
        return (self.probabilities > THRESHOLD).astype(np.int64)

    @cached_property
    def _rankings(self) -> dict[int, classification.Ranking]:
        return {}

    def ranking(self, c: int) -> classification.Ranking:
        """Return the images with a known label c by its probability; it is kept for further calls unless all need much memory."""
        ranking = self._rankings.get(c) or classification.Ranking(self.probabilities[:, c], self.positive(c), self.known(c))
        if self.probabilities.size <= KEPT:
            self._rankings[c] = ranking
        return ranking

    def known(self, c: int) -> NDArray[np.bool_]:
        """Return which images have a known label c, (N,)."""
        return np.ones(len(self.truth), bool) if self.exclusive else self.truth[:, c] != IGNORE

    def positive(self, c: int) -> NDArray[np.bool_]:
        """Return which images have class c, (N,)."""
        return self.truth == c if self.exclusive else self.truth[:, c] == 1


def measure(predicted: Predicted, name: str, weights: Array | None = None) -> tuple[Array, Array]:
    """Compute a metric.

    Args:
        predicted: probabilities and labels.
        name: a key of MEASURES.
        weights: how often each image counts, (..., N); None: once.

    Returns:
        The metric (...), and its values by class (..., C), of which there may be none, C = 0; NaN where undefined.
    """
    weight = np.ones(len(predicted.truth)) if weights is None else weights
    return MEASURES[name](predicted, weight)


class LabelEvaluation:
    """Evaluation of a stream of predictions."""

    def __init__(self, class_names: Sequence[str], primary: str, *, exclusive: bool, light: bool = False) -> None:
        """Start empty.

        Args:
            class_names: name of every class, for errors.
            primary: AUC or KAPPA, whose contribution of each image is kept.
            exclusive: whether an image has exactly one of the classes.
            light: whether the primary metric is enough.
        """
        self.class_names, self.primary, self.exclusive, self.light = tuple(class_names), primary, exclusive, light
        every = [AUC, SENSITIVITY, "accuracy", "balanced_accuracy", "ece"]
        self.names = [primary] if light else [*every, *([KAPPA, "kappa_linear"] if primary == KAPPA else [])]
        self._images: dict[str, str] = {}  # image -> group
        self._probabilities: list[Array] = []
        self._truth: list[NDArray[np.int64]] = []

    def update(self, probabilities: "Tensor", truth: "Tensor", images: Sequence[str], groups: Sequence[str]) -> None:
        """Add a batch.

        Args:
            probabilities: (N, C), in [0, 1].
            truth: exclusive: the class (N,); else 0, 1 or IGNORE, (N, C), or (N,) for a single label.
            images: unique identifier of each image, also across batches.
            groups: the patient of each image.

        Raises:
            ValueError: wrong shapes, unknown labels, NaN or probabilities outside [0, 1], or a repeated image.
        """
        shape = (len(images), len(self.class_names))
        if not self.exclusive and truth.ndim == 1:
            truth = truth[:, None]
        wanted = shape[:1] if self.exclusive else shape
        if tuple(probabilities.shape) != shape or tuple(truth.shape) != wanted:
            got = f"{tuple(probabilities.shape)} and {tuple(truth.shape)}"
            raise ValueError(f"expected probabilities {shape} and labels {wanted}, but got {got}")
        if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
            wrong = "NaN" if bool(probabilities.isnan().any()) else "values outside [0, 1]"
            raise ValueError(f"expected probabilities in [0, 1], but got {wrong}; apply the sigmoid or softmax first")
        labels = truth.cpu().numpy().astype(np.int64)
        allowed = range(shape[1]) if self.exclusive else (0, 1, IGNORE)
        if not np.isin(labels, list(allowed)).all():
            raise ValueError(f"expected labels {', '.join(map(str, allowed))}, but got {sorted(set(labels.ravel().tolist()))}")
        if again := [image for i, image in enumerate(images) if image in self._images or image in images[:i]]:
            raise ValueError(f"expected every image once, but {again[0]!r} came again")
        self._probabilities.append(probabilities.cpu().double().numpy())
        self._truth.append(labels)
        self._images.update(zip(images, groups, strict=True))

    def compute(self) -> Evaluation:
        """Compute all metrics of the images so far.

        Raises:
            ValueError: there were no images, or their labels do not define the primary metric.
        """
        if not self._images:
            raise ValueError("expected at least one image to evaluate, but got none")
        predicted = Predicted(np.concatenate(self._probabilities), np.concatenate(self._truth))
        metrics: dict[str, float] = {}
        for name in self.names:
            value, by_class = measure(predicted, name)
            shown = dict(enumerate(by_class.tolist())) if len(by_class) > 1 else {}
            every = {name: float(value), **{f"{name}_class_{c}": one for c, one in shown.items()}}
            metrics |= {key: one for key, one in every.items() if math.isfinite(one)}
        if self.primary not in metrics:
            raise ValueError(f"expected images of more than one class, without which {self.primary} is undefined")
        intervals = [] if self.light else patient_intervals(predicted, list(self._images.values()), self.names)
        return Evaluation(metrics, self._rows(predicted), intervals)

    def _rows(self, predicted: Predicted) -> list[dict[str, Any]]:
        shares, columns = _shares(predicted, self.primary), label_columns(predicted)
        return [
            {
                "image": image,
                "group": group,
                self.primary: float(shares[i]),
                **{name: values[i] for name, values in columns.items()},
            }
            for i, (image, group) in enumerate(self._images.items())
        ]


def patient_intervals(
    predicted: Predicted, groups: Sequence[str], names: Sequence[str], draws: int = DRAWS, confidence: float = CONFIDENCE
) -> list[dict[str, Any]]:  # fmt: skip
    """Compute expanded percentile intervals of metrics over draws of the patients with replacement; the seed is fixed.

    Percentiles farther out make up for draws of P patients varying by sqrt((P - 1) / P) of what new patients do, and for their
    spread being estimated: normal percentiles at the quantile of Student's t times sqrt(P / (P - 1)).

    Args:
        predicted: probabilities and labels.
        groups: the patient of each image.
        names: keys of MEASURES.
        draws: number of draws.
        confidence: nominal coverage.

    Returns:
        One row per metric, and per class of it: `metric`, `value`, `low`, `high`, the number of `patients`, and in how many of
        the draws it is `defined`; a metric that no draw defines is left out. Empty with fewer than LEAST_PATIENTS patients.

    Source: Hesterberg, What teachers should know about the bootstrap, American Statistician 69, 2015, expanded percentiles.
    """
    patients, patient = np.unique(np.asarray(groups), return_inverse=True)
    count = len(patients)
    if count < LEAST_PATIENTS:
        return []
    tail = float(special.ndtr(special.stdtrit(count - 1, (1 - confidence) / 2) * math.sqrt(count / (count - 1))))
    rng = np.random.default_rng(0)
    cells = predicted.classes**2 if predicted.exclusive else 0  # of a confusion matrix
    size, rows = max(1, AT_ONCE // max(len(patient), cells)), list[dict[str, Any]]()
    measured: dict[str, list[tuple[Array, Array]]] = {name: [] for name in names}
    for first in range(0, draws, size):  # all of them at once would need gigabytes
        taken = rng.multinomial(count, np.full(count, 1 / count), size=min(size, draws - first))  # (b, P)
        weights = classification.weigh_samples(taken, patient)
        for name, parts in measured.items():
            parts.append(measure(predicted, name, weights))
    for name, parts in measured.items():
        drawn = {name: np.concatenate([whole for whole, _ in parts])}
        value, by_class = measure(predicted, name)
        values = {name: float(value)}
        if len(by_class) > 1:
            drawn |= {f"{name}_class_{c}": np.concatenate([part[:, c] for _, part in parts]) for c in range(len(by_class))}
            values |= {f"{name}_class_{c}": float(one) for c, one in enumerate(by_class)}
        for key, known in drawn.items():
            defined = known[np.isfinite(known)]
            if len(defined) and math.isfinite(values[key]):
                low, high = np.quantile(defined, [tail, 1 - tail])
                rows.append({
                    "metric": key, "value": values[key], "low": float(low), "high": float(high), "patients": count,
                    "defined": len(defined) / draws,
                })  # fmt: skip
    return rows


def label_columns(predicted: Predicted) -> dict[str, list[Any]]:
    """Return the labels and probabilities as columns of a table, by name; unknown labels are None."""
    probabilities = {f"probability_class_{c}": predicted.probabilities[:, c].tolist() for c in range(predicted.classes)}
    if predicted.exclusive:
        return {"true": predicted.truth.tolist(), "predicted": predicted.decided.tolist(), **probabilities}
    known = [[None if label == IGNORE else label for label in labels] for labels in predicted.truth.T.tolist()]  # (C, N)
    return {f"true_class_{c}": labels for c, labels in enumerate(known)} | probabilities


def read_label_columns(table: Table) -> Predicted:
    """Read what `label_columns` wrote.

    Raises:
        ValueError: a column is missing, or a value is no number.
    """
    position = {name: index for index, name in enumerate(table.columns)}
    classes = sum(name.startswith("probability_class_") for name in position)
    if "group" not in position or not classes or not ({"true", "true_class_0"} & position.keys()):
        raise ValueError("it has no labels and probabilities")

    def column(name: str) -> list[str]:
        return [row[position[name]] for row in table.rows]

    probabilities = np.array([[float(text) for text in column(f"probability_class_{c}")] for c in range(classes)]).T
    if "true" in position:
        return Predicted(probabilities, np.array([int(text) for text in column("true")]))
    labels = [[int(float(text)) if text else IGNORE for text in column(f"true_class_{c}")] for c in range(classes)]
    return Predicted(probabilities, np.array(labels).T)


def _shares(predicted: Predicted, primary: str) -> Array:
    """Return what each image contributes to the primary metric, (N,); NaN where none of its labels is known."""
    if primary == KAPPA:
        return classification.kappa_shares(predicted.truth, predicted.decided, predicted.classes)
    placed = np.full(predicted.probabilities.shape, np.nan)
    for c in range(predicted.classes):
        known = predicted.known(c)
        placed[known, c] = classification.placements(predicted.probabilities[known, c], predicted.positive(c)[known])
    return classification.mean_defined(placed)


def _by_ranking(
    formula: Callable[[classification.Ranking, Array], Array], predicted: Predicted, weights: Array
) -> tuple[Array, Array]:
    by_class = np.stack([formula(predicted.ranking(c), weights) for c in range(predicted.classes)], axis=-1)  # (..., C)
    return classification.mean_defined(by_class), by_class


def _by_class(formula: Any, predicted: Predicted, weights: Array) -> tuple[Array, Array]:
    values = []
    for c in range(predicted.classes):
        known = predicted.known(c)
        of_known = weights if known.all() else weights[..., known]
        values.append(formula(predicted.probabilities[known, c], predicted.positive(c)[known], of_known))
    by_class = np.stack(values, axis=-1)  # (..., C)
    return classification.mean_defined(by_class), by_class


def _from_counts(formula: Any, predicted: Predicted, weights: Array) -> tuple[Array, Array]:
    """Apply a formula of the confusion matrix: of all classes, or of each independent label."""
    if predicted.exclusive:
        counts = classification.confusion_matrix(predicted.truth, predicted.decided, predicted.classes, weights)
        return formula(counts), np.zeros((*weights.shape[:-1], 0))

    def of_label(probabilities: Array, positive: NDArray[np.bool_], weight: Array) -> Array:
        return np.asarray(formula(classification.confusion_matrix(positive, probabilities > THRESHOLD, 2, weight)))

    return _by_class(of_label, predicted, weights)


def _calibration(predicted: Predicted, weights: Array) -> tuple[Array, Array]:
    if not predicted.exclusive:
        return _by_class(classification.calibration_error, predicted, weights)
    right = predicted.decided == predicted.truth
    error = classification.calibration_error(predicted.probabilities.max(axis=1), right, weights)
    return error, np.zeros((*weights.shape[:-1], 0))


MEASURES = {
    AUC: lambda predicted, weights: _by_ranking(classification.Ranking.roc_auc, predicted, weights),
    SENSITIVITY: lambda predicted, weights: _by_ranking(classification.Ranking.sensitivity_at_specificity, predicted, weights),
    "accuracy": lambda predicted, weights: _from_counts(classification.accuracy, predicted, weights),
    "balanced_accuracy": lambda predicted, weights: _from_counts(classification.balanced_accuracy, predicted, weights),
    "ece": _calibration,
    KAPPA: lambda predicted, weights: _from_counts(classification.kappa, predicted, weights),
    "kappa_linear": lambda predicted, weights: _from_counts(lambda counts: classification.kappa(counts, 1), predicted, weights),
}
