"""The whole evaluation against scikit-learn, torchmetrics and sums by hand, streamed in batches of different sizes."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_f1_score
from torchmetrics.functional.segmentation import dice_score

from medtransfer.metrics.segmentation import SegmentationEvaluation
from medtransfer.metrics.surface import hd95

GROUPS = ["p1", "p1", "p2", "p3", "p3", "p3"]


def data(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Six samples of 12 x 10 pixels whose probabilities lean to the truth; the last holds background only."""
    generator = torch.Generator().manual_seed(classes)
    truth = torch.randint(0, classes + 1, (6, 12, 10), generator=generator)
    truth[5] = 0
    noise = 1.5 * torch.randn(6, classes + 1, 12, 10, generator=generator)
    logits = noise + 2 * torch.nn.functional.one_hot(truth, classes + 1).movedim(-1, 1)
    probabilities = torch.softmax(logits, dim=1)
    return (probabilities[:, 1:] if classes == 1 else probabilities), truth.to(torch.uint8)


def evaluate(probabilities, truth, classes, batch=4, pixel_sizes=None):
    evaluation = SegmentationEvaluation(classes, [f"name {c}" for c in range(classes)], pixel_sizes)
    for start in range(0, len(truth), batch):
        window = slice(start, start + batch)
        images = [f"image {i}" for i in range(len(truth))][window]
        evaluation.update(probabilities[window], truth[window], images, GROUPS[: len(truth)][window])
    return evaluation.compute()


def predicted(probabilities: torch.Tensor, classes: int) -> torch.Tensor:
    return (probabilities[:, 0] > 0.5).long() if classes == 1 else probabilities.argmax(1)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 6])
def test_pooled_metrics_equal_sklearn(classes, batch):
    probabilities, truth = data(classes)
    result = evaluate(probabilities, truth, classes, batch).metrics
    prediction = predicted(probabilities, classes)
    functions = {
        "jaccard": sk.jaccard_score,
        "mcc": sk.matthews_corrcoef,
        "precision": sk.precision_score,
        "sensitivity": sk.recall_score,
    }
    for name, function in functions.items():
        values = [function((truth == c).flatten(), (prediction == c).flatten()) for c in range(1, classes + 1)]
        assert result[name] == pytest.approx(np.mean(values))
        assert [result[f"{name}_class_{c}"] for c in range(1, classes + 1)] == pytest.approx(values)
    foreground = probabilities[:, -classes:]
    areas = [sk.average_precision_score((truth == c + 1).flatten(), foreground[:, c].flatten()) for c in range(classes)]
    assert result["average_precision"] == pytest.approx(np.mean(areas), abs=1e-3)


@pytest.mark.parametrize("classes", [1, 3])
def test_dice_equals_torchmetrics_up_to_the_smoothing(classes):
    probabilities, truth = data(classes)
    result = evaluate(probabilities, truth, classes).metrics
    pooled = [part.reshape(1, -1, 10) for part in (predicted(probabilities, classes), truth.long())]
    independent = dice_score(*pooled, num_classes=classes + 1, include_background=False, average=None, input_format="index")
    assert [result[f"dice_class_{c}"] for c in range(1, classes + 1)] == pytest.approx(independent[0].tolist(), abs=5e-3)
    assert result["dice"] == pytest.approx(np.mean([result[f"dice_class_{c}"] for c in range(1, classes + 1)]))


def smoothed_dice(prediction: torch.Tensor, truth: torch.Tensor, classes: int) -> float:
    pairs = [(prediction == c, truth == c) for c in range(1, classes + 1)]
    return float(np.mean([(2 * (p & t).sum().item() + 1) / (p.sum().item() + t.sum().item() + 1) for p, t in pairs]))


@pytest.mark.parametrize("classes", [1, 3])
def test_values_per_image_and_per_patient(classes):
    probabilities, truth = data(classes)
    prediction = predicted(probabilities, classes)
    result = evaluate(probabilities, truth, classes)
    by_image = [smoothed_dice(prediction[i], truth[i], classes) for i in range(6)]
    by_patient = [smoothed_dice(prediction[s], truth[s], classes) for s in (slice(2), slice(2, 3), slice(3, 6))]
    assert result.metrics["dice_per_image"] == pytest.approx(np.mean(by_image))
    assert result.metrics["dice_per_patient"] == pytest.approx(np.mean(by_patient))
    assert [row["dice"] for row in result.per_sample] == pytest.approx(by_image)
    assert [(row["image"], row["group"]) for row in result.per_sample] == [(f"image {i}", GROUPS[i]) for i in range(6)]
    distances = []
    for row, p, t in zip(result.per_sample, prediction, truth, strict=True):
        masks = [((p == c).numpy(), (t == c).numpy()) for c in range(1, classes + 1)]
        for c, (ours, theirs) in enumerate(masks, start=1):
            tn, fp, fn, tp = sk.confusion_matrix(theirs.ravel(), ours.ravel(), labels=[False, True]).ravel()
            cells = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
            assert {name: row[f"{name}_class_{c}"] for name in cells} == cells
            assert {name: row[name] for name in cells if name in row} == (cells if classes == 1 else {})
        distances.append([hd95(*pair) for pair in masks])
        assert [row[f"hd95_class_{c}"] for c in range(1, classes + 1)] == pytest.approx(distances[-1])
        assert row["hd95"] == pytest.approx(np.mean(distances[-1]))
    assert result.metrics["hd95"] == pytest.approx(np.mean(distances))


@pytest.mark.parametrize("classes", [1, 3])
def test_evaluations_of_parts_merge_into_that_of_all(classes):
    probabilities, truth = data(classes)
    names = [f"name {c}" for c in range(classes)]
    sizes = {f"image {i}": (1.0 + i, 2.0) for i in range(6)}
    whole, once = SegmentationEvaluation(classes, names), SegmentationEvaluation(classes, names, sizes)
    once.update(probabilities, truth, list(sizes), GROUPS)
    for part in (slice(0, 2), slice(2, 3), slice(3, 6)):
        evaluation = SegmentationEvaluation(classes, names, sizes)
        images = [f"image {i}" for i in range(6)][part]
        evaluation.update(probabilities[part], truth[part], images, GROUPS[part])
        found, numbers = evaluation.state()
        assert found == images
        whole.merge(found, GROUPS[part], numbers)
    assert whole.compute() == once.compute() and "hd95_mm" in whole.compute().metrics
    unknown = SegmentationEvaluation(classes, names)
    unknown.update(probabilities[:1], truth[:1], ["other"], ["p"])
    unknown.merge(found, GROUPS[3:], numbers)
    assert "hd95_mm" not in unknown.compute().metrics
    with pytest.raises(ValueError, match="numbers of 1 images"):
        whole.merge(["one"], ["p"], numbers)


@pytest.mark.parametrize("classes", [1, 3])
def test_ignored_pixels_are_in_no_count(classes):
    probabilities, truth = data(classes)
    ignored = truth.clone()
    ignored[..., 7:] = 255
    result, cropped = evaluate(probabilities, ignored, classes), evaluate(probabilities[..., :7], truth[..., :7], classes)
    for got, expected in ((result.metrics, cropped.metrics), *zip(result.per_sample, cropped.per_sample, strict=True)):
        assert {n: v for n, v in got.items() if "hd95" not in n} == {n: v for n, v in expected.items() if "hd95" not in n}
    masks = [(predicted(probabilities, classes) == 1).numpy(), (truth == 1).numpy()]
    for mask in masks:
        mask[..., 7:] = False
    assert [row["hd95_class_1"] for row in result.per_sample] == [hd95(*pair) for pair in zip(*masks, strict=True)]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("square", [True, False])
def test_hd95_in_mm_is_by_the_size_of_each_images_pixels(classes, square):
    probabilities, truth = data(classes)
    sizes = {f"image {i}": (1.0 + i, 1.0 + i if square else 0.5) for i in range(6)}
    result, in_pixels = evaluate(probabilities, truth, classes, pixel_sizes=sizes), evaluate(probabilities, truth, classes)
    assert "hd95_mm" not in in_pixels.metrics
    assert {name: result.metrics[name] for name in in_pixels.metrics} == in_pixels.metrics
    pairs = list(zip(predicted(probabilities, classes).numpy(), truth.numpy(), sizes.values(), strict=True))
    expected = [[hd95(p == c, t == c, size) for c in range(1, classes + 1)] for p, t, size in pairs]
    assert [row["hd95_mm"] for row in result.per_sample] == pytest.approx(np.mean(expected, axis=1))
    assert result.metrics["hd95_mm"] == pytest.approx(np.mean(expected))
    assert [result.metrics[f"hd95_mm_class_{c + 1}"] for c in range(classes)] == pytest.approx(np.mean(expected, axis=0))


REGIONS = {"whole": [1, 2, 3], "core": [3, 2], "rim": [1]}


def test_regions_are_unions_of_classes_and_means_are_over_them():
    """Brute-force unions against scikit-learn and torchmetrics; the values of classes are those without regions."""
    probabilities, truth = data(3)
    truth[0, :2] = 255
    sizes = {f"image {i}": (1.0 + i, 2.0) for i in range(6)}
    evaluation = SegmentationEvaluation(3, list("abc"), sizes, REGIONS)
    evaluation.update(probabilities, truth, list(sizes), GROUPS)
    result, plain = evaluation.compute(), evaluate(probabilities, truth, 3, pixel_sizes=sizes)
    known = truth != 255
    prediction = probabilities.argmax(1) * known
    pairs = [[np.isin(labels * known, members) for labels in (prediction, truth)] for members in REGIONS.values()]
    functions = {
        "jaccard": sk.jaccard_score, "mcc": sk.matthews_corrcoef, "precision": sk.precision_score, "sensitivity": sk.recall_score,
        "specificity": lambda t, p: sk.recall_score(~t, ~p),
        "dice": lambda t, p: float(binary_f1_score(*map(torch.from_numpy, (p, t)))),
    }  # fmt: skip
    expected = {name: [function(t[known], p[known]) for p, t in pairs] for name, function in functions.items()}
    scores = [probabilities[:, members].sum(1)[known] for members in REGIONS.values()]
    expected["average_precision"] = [sk.average_precision_score(t[known], s) for (_, t), s in zip(pairs, scores, strict=True)]
    distances = np.array([[hd95(*masks) for masks in zip(*pair, strict=True)] for pair in pairs])
    expected["hd95"] = distances.mean(axis=1)
    for name, values in expected.items():
        assert [result.metrics[f"{name}_region_{r}"] for r in (1, 2, 3)] == pytest.approx(values, abs=2e-3), name
        assert result.metrics[name] == pytest.approx(np.mean(values), abs=2e-3), name
        assert result.metrics[f"{name}_class_2"] == plain.metrics[f"{name}_class_2"]
    in_mm = [[hd95(p, t, size) for p, t, size in zip(*pair, sizes.values(), strict=True)] for pair in pairs]
    assert [result.metrics[f"hd95_mm_region_{r}"] for r in (1, 2, 3)] == pytest.approx(np.mean(in_mm, axis=1))
    dices = [[smoothed_dice(torch.from_numpy(p[s]), torch.from_numpy(t[s]), 1) for p, t in pairs] for s in range(6)]
    assert [row["dice"] for row in result.per_sample] == pytest.approx(np.mean(dices, axis=1))
    assert [row["dice_region_2"] for row in result.per_sample] == pytest.approx([by_region[1] for by_region in dices])
    assert result.metrics["dice_per_image"] == pytest.approx(np.mean(dices))
    by_patient = [[smoothed_dice(torch.from_numpy(p[s]), torch.from_numpy(t[s]), 1) for p, t in pairs]
                  for s in (slice(2), slice(2, 3), slice(3, 6))]  # fmt: skip
    assert result.metrics["dice_per_patient"] == pytest.approx(np.mean(by_patient))
    row, (p, t) = result.per_sample[0], [mask[0][known[0]] for mask in pairs[1]]
    cells = {"tp": (p & t).sum(), "fp": (p & ~t).sum(), "fn": (~p & t).sum(), "tn": (~p & ~t).sum()}
    assert {cell: row[f"{cell}_region_2"] for cell in cells} == cells
    assert {name: row[name] for name in plain.per_sample[0] if "_class_" in name} == {
        name: value for name, value in plain.per_sample[0].items() if "_class_" in name
    }


@pytest.mark.parametrize(("classes", "regions"), [(1, None), (3, None), (3, REGIONS), (3, {"core": [2, 3], "rim": [1]})])
def test_the_best_constant_mask_is_that_of_an_evaluated_one(classes, regions):
    """Every mask of one label is evaluated like a prediction; pixels to ignore, and a class that no image shows, count, too."""
    probabilities, truth = data(classes)
    truth[0, :2] = 255
    truth[truth == 2] = 0
    values = []
    for label in range(classes + 1):
        constant = torch.zeros_like(probabilities)
        constant[:, max(label - (classes == 1), 0)] = float(classes > 1 or label)
        evaluation = SegmentationEvaluation(classes, list("abc")[:classes], regions=regions, light=True)
        evaluation.update(constant, truth, [f"image {i}" for i in range(6)], GROUPS)
        result = evaluation.compute()
        values.append(result.metrics["dice"])
    assert result.constant == pytest.approx(max(values)) and len(set(values)) > 1
    assert evaluate(probabilities, torch.full_like(truth, 1), classes).constant == pytest.approx(1.0)


def test_evaluations_with_regions_merge_and_only_with_their_like():
    probabilities, truth = data(3)
    images = [f"image {i}" for i in range(6)]
    once, whole, light = (SegmentationEvaluation(3, list("abc"), regions=REGIONS, light=light) for light in (False, False, True))
    for evaluation in (once, light):
        evaluation.update(probabilities, truth, images, GROUPS)
    for part in (slice(0, 2), slice(2, 6)):
        evaluation = SegmentationEvaluation(3, list("abc"), regions=REGIONS)
        evaluation.update(probabilities[part], truth[part], images[part], GROUPS[part])
        whole.merge(images[part], GROUPS[part], evaluation.state()[1])
    assert whole.compute() == once.compute()
    assert light.compute().metrics.items() <= once.compute().metrics.items()
    with pytest.raises(ValueError, match="3 classes and regions"):
        SegmentationEvaluation(3, list("abc")).merge(images, GROUPS, once.state()[1])
    for wrong in ([], [0, 1], [4]):
        with pytest.raises(ValueError, match=r"regions of the labels 1\.\.3"):
            SegmentationEvaluation(3, list("abc"), regions={"wrong": wrong})


def test_an_image_of_ignored_pixels_only_has_nothing_wrong():
    result = evaluate(torch.full((2, 1, 2, 2), 0.9), torch.full((2, 2, 2), 255, dtype=torch.uint8), 1)
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert [result.metrics[name] for name in ("dice", "hd95", "average_precision")] == [1, 0, 1]


def test_perfect_prediction_of_one_image():
    truth = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    result = evaluate(truth[:, None].float(), truth, 1)
    hd = {name: value for name, value in result.metrics.items() if name.startswith("hd95")}
    assert hd == {"hd95": 0.0, "hd95_class_1": 0.0}
    assert [value for name, value in result.metrics.items() if name not in hd] == pytest.approx([1.0] * 16)


def test_images_that_are_groups_of_their_own_have_no_values_per_patient():
    probabilities, truth = data(3)
    evaluation = SegmentationEvaluation(3, list("abc"))
    names = [f"image {i}" for i in range(6)]
    evaluation.update(probabilities, truth, names, names)
    ungrouped, grouped = evaluation.compute(), evaluate(probabilities, truth, 3)
    assert grouped.metrics.keys() - ungrouped.metrics.keys() == {"dice_per_patient", "jaccard_per_patient"}
    assert ungrouped.metrics.items() <= grouped.metrics.items()


def test_metrics_of_healthy_images_are_finite():
    truth = torch.zeros(2, 4, 4, dtype=torch.uint8)
    probabilities = torch.full((2, 1, 4, 4), 0.5)  # exactly one half is negative
    probabilities[1, 0, 0, 0] = 0.9
    result = evaluate(probabilities, truth, 1)
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert result.metrics["dice"] == 1 / 2
    assert result.metrics["dice_per_image"] == (1 + 1 / 2) / 2
    assert result.metrics["average_precision"] == 0
    assert [row["hd95"] for row in result.per_sample] == [0, pytest.approx(math.hypot(4, 4))]


GOOD = torch.full((1, 1, 2, 2), 0.3)
ZERO = torch.zeros(1, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("probabilities", "truth", "images", "groups", "message"),
    [
        (torch.full((1, 2, 2, 2), 0.5), ZERO, ["a"], ["p"], r"\(N, 1, H, W\).*\(1, 2, 2, 2\)"),
        (GOOD, ZERO[0], ["a"], ["p"], "truth"),
        (GOOD[:0], ZERO[:0], [], [], r"\(0, 1, 2, 2\)"),
        (GOOD, ZERO, ["a", "b"], ["p"], "1 images and groups, but got 2 and 1"),
        (GOOD * torch.nan, ZERO, ["a"], ["p"], "NaN"),
        (GOOD * 9, ZERO, ["a"], ["p"], "outside"),
        (GOOD, ZERO + 3, ["a"], ["p"], r"0..1 \(background, lesion\).*got 3"),
        (GOOD.repeat(2, 1, 1, 1), ZERO.repeat(2, 1, 1), ["a", "a"], ["p", "p"], "'a' came again"),
    ],
)
def test_bad_batches_are_refused_and_change_nothing(probabilities, truth, images, groups, message):
    evaluation = SegmentationEvaluation(1, ["lesion"])
    with pytest.raises(ValueError, match=message):
        evaluation.update(probabilities, truth, images, groups)
    with pytest.raises(ValueError, match="at least one image"):
        evaluation.compute()


def test_repeated_images_and_wrong_numbers_of_names_are_refused():
    evaluation = SegmentationEvaluation(1, ["lesion"])
    evaluation.update(GOOD, ZERO, ["a"], ["p"])
    with pytest.raises(ValueError, match="'a' came again"):
        evaluation.update(GOOD, ZERO, ["a"], ["p"])
    for classes, names in ((2, ["one"]), (0, [])):
        with pytest.raises(ValueError, match="one name for each"):
            SegmentationEvaluation(classes, names)
