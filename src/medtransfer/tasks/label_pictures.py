"""Pictures of classifications: images with their true and predicted labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from medtransfer.data.colours import to_colours
from medtransfer.data.epochs import Samples
from medtransfer.data.windows import title_images
from medtransfer.records import atomic_path
from medtransfer.tasks.contract import Metric

COLUMNS, LONGEST = 3, 34  # pictures side by side; letters of a line
SIDE, TITLE, FOOT = 2.6, 0.58, 0.25  # inches: side of a picture, its four lines, and the line below all
RIGHT, WRONG = "#1a1a1a", "#b2182b"


def draw_labels(
    path: Path, samples: Samples, per_sample: Sequence[Mapping[str, Any]], metric: Metric, class_names: Sequence[str], number: int
) -> None:  # fmt: skip
    """Draw samples, spread evenly from the lowest to the highest contribution to a metric; nothing where none has one.

    Args:
        path: path of the PNG.
        samples: samples without augmentation.
        per_sample: values of the same samples, in their order.
        metric: metric by whose contributions they are ordered.
        class_names: names of the classes.
        number: number of samples to draw.
    """
    values = [float(row[metric.name]) for row in per_sample]
    ranked = sorted((i for i, value in enumerate(values) if not math.isnan(value)), key=lambda i: (values[i], i))
    ranks = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    chosen = [ranked[rank] for rank in dict.fromkeys(ranks.tolist())]
    if not chosen:
        return
    shown = [to_colours(pixels if pixels.ndim == 3 else pixels[4]) for pixels in (samples[index][0] for index in chosen)]
    rows, tall = math.ceil(len(chosen) / COLUMNS), SIDE * min(shown[0].shape[0] / shown[0].shape[1], 2)
    height = rows * (tall + TITLE) + FOOT
    place = {
        "left": 0.01, "right": 0.99, "wspace": 0.04, "bottom": FOOT / height, "top": 1 - TITLE / height, "hspace": TITLE / tall,
    }  # fmt: skip
    figure = Figure(figsize=(SIDE * COLUMNS, height))  # placed by hand, since a layout would cut the titles off
    titles = title_images(samples.images, LONGEST)
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw=place).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, index in zip(axes, shown, chosen, strict=False):
        axis.imshow(picture)  # of ten crops the centre
        lines, right = _describe(per_sample[index], class_names)
        title = "\n".join(line[:LONGEST] for line in (titles[index], *lines, f"{metric.label} part {values[index]:.2f}"))
        axis.set_title(title, fontsize=7, color=RIGHT if right else WRONG, loc="left")
    text = f"red: wrong; part: what an image contributes to the {metric.label}, at best 1"
    figure.text(0.01, 0.3 * FOOT / height, text, fontsize=7, color=RIGHT)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _describe(row: Mapping[str, Any], class_names: Sequence[str]) -> tuple[list[str], bool]:
    """Return lines with the true and the predicted labels of a sample, and whether they agree."""
    probabilities = [row[f"probability_class_{c}"] for c in range(len(class_names))]
    if "true" in row:
        true, predicted = int(row["true"]), int(row["predicted"])
        said = f"predicted {class_names[predicted]} p {probabilities[predicted]:.2f}"
        return [f"true {class_names[true]}", said], true == predicted
    labels = [row[f"true_class_{c}"] for c in range(len(class_names))]
    calls = [probability > 0.5 for probability in probabilities]
    true_names = [name for name, label in zip(class_names, labels, strict=True) if label == 1]
    called = [f"{name} p {p:.2f}" for name, p, call in zip(class_names, probabilities, calls, strict=True) if call]
    if len(class_names) == 1 and not called:
        called = [f"not {class_names[0]} p {1 - probabilities[0]:.2f}"]
    without = f"not {class_names[0]}" if len(class_names) == 1 else "none"
    right = all(label is None or call == (label == 1) for label, call in zip(labels, calls, strict=True))
    return [f"true {', '.join(true_names) or without}", f"predicted {', '.join(called) or 'none'}"], right
