"""`medtransfer indicators`: published values through the command line, and arrays that are refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.special import softmax
from tests.published_features import TALL as TALL_SET
from tests.published_features import WIDE as WIDE_SET
from tests.published_features import four_views, second_view
from tests.published_maps import LABELS as MASKS
from tests.published_maps import MAPS

from medtransfer.cli import cli, main
from medtransfer.indicators.array_keys import FILES, KEYS, option

(TALL, LABELS), (WIDE, FEW) = TALL_SET, WIDE_SET


def probabilities(labels: np.ndarray) -> np.ndarray:
    i, s = np.ogrid[: len(labels), :5]
    logits = np.sin(0.9 * (i + 1) * (s + 1)) + 1.5 * (labels[:, None] == s % 3)
    return softmax(logits, axis=1)


PUBLISHED = {  # tall, wide
    "logme": (-0.0337838226, -0.0119144452), "leep": (-0.7315667920, -0.7272216868), "nce": (-0.2900375836, -0.3500346637),
    "hscore": (1.8324112685, 2.0), "hscore_reg": (1.7239575698, 1.9479143142), "transrate": (2.8511087901, 47.4124640591),
    "gbc": (-0.1705305662, -0.0000020372), "rankme_raw": (7.1993899945, 12.5916160575),
    "rankme": (7.2150526865, 12.6261678151), "nesum": (2.5871467470, 2.6642341158), "pr": (4.1061571912, 4.4079871609),
    "alpha": (1.2149426672, 1.8461743456), 
    "alignment": (-0.0144372271, -0.0146836070), "selfcluster": (-0.0810273945, -0.1349792604),
    "twonn": (2.0572244197, 3.9762725406), "dse": (0.6381450002, 1.3797964996), "fr": (0.95, 0.6992481203),
    "grtd": (-0.9093087968, -0.6077072802), "ridge_accuracy": (59 / 60, 1.0), "parc": (73.6984218088, 78.4941523961),
    "sfda": (0.9999495441, 1.0),
}  # fmt: skip
OF_VIEWS = (1.4757862190, 7.1748833102)  # LiDAR
UNIFORMITY = (2.1581835381, 2.2331042181)  # of the first views
OF_MAPS = {
    "ccfv": 1.0381937688, "ccfv_raw": 0.0074758784, "lbtc": 0.7242647059, "lbtc_corrected": 0.5071553738,
    "ridge_dice": 0.7975272961, "knn_dice": 0.7601082295,
}  # fmt: skip
Compute = Callable[..., dict[str, Any]]
Refused = Callable[..., str]


def words(folder: Path, arrays: dict[str, Any]) -> list[str]:
    for name, array in arrays.items():
        if isinstance(array, np.ndarray):
            np.save(folder / f"{name}.npy", array)
    return [word for name in arrays for word in (option(name), str(folder / f"{name}.npy"))]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that saves arrays and runs the command on them: exit code, stdout, stderr."""

    def call(*flags: str, **arrays: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medtransfer", "indicators", *words(tmp_path, arrays), *flags])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def compute(run: Callable[..., tuple[int, str, str]]) -> Compute:
    def call(**arrays: Any) -> dict[str, Any]:
        code, out, err = run("--json", **arrays)
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture
def refused(run: Callable[..., tuple[int, str, str]]) -> Refused:
    def call(**arrays: Any) -> str:
        code, out, err = run("--json", **arrays)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return call


@pytest.mark.parametrize(("column", "features", "labels"), [(0, TALL, LABELS), (1, WIDE, FEW)], ids=["tall", "wide"])
def test_published_values(compute: Compute, column: int, features: np.ndarray, labels: np.ndarray):
    arrays = {"features": features, "features2": second_view(features), "labels": labels, "probs": probabilities(labels)}
    values = compute(**arrays)
    for key, published in PUBLISHED.items():
        assert values[key] == pytest.approx(published[column], abs=1e-8), key
    of_maps = {key for key, indicator in KEYS.items() if "maps" in indicator.needs}
    assert values.keys() == KEYS.keys() - of_maps - {"emms_embedded"} | {"flags"}
    assert compute(features=features)["uniformity"] == pytest.approx(UNIFORMITY[column], abs=1e-8)
    assert compute(features2=four_views(features))["lidar"] == pytest.approx(OF_VIEWS[column], abs=1e-8)
    assert compute(features=four_views(features))["lidar"] == pytest.approx(OF_VIEWS[column], abs=1e-8)


@pytest.mark.parametrize("given", ["two files", "one file", "four views", "beside the samples"])
def test_uniformity_is_the_mean_over_views(given: str, compute: Compute):
    """The values of single views, by SciPy's distances, the first of them as published."""
    views = four_views(TALL) if given in ("four views", "beside the samples") else np.stack([TALL, second_view(TALL)], axis=1)
    singles = []
    for view in views.swapaxes(0, 1):
        units = view / np.linalg.norm(view, axis=1, keepdims=True)
        singles.append(-np.log(np.mean(np.exp(-2 * pdist(units, "sqeuclidean")))))
    assert len({round(single, 6) for single in singles}) == views.shape[1]
    files = {
        "two files": {"features": TALL, "features2": second_view(TALL)},
        "beside the samples": {"features": TALL, "features2": views},
    }
    assert compute(**files.get(given, {"features": views}))["uniformity"] == pytest.approx(np.mean(singles), abs=1e-9)


def test_loosely_published_values(compute: Compute):
    values = compute(features=TALL, labels=LABELS)
    assert values["nleep"] == pytest.approx(-0.07, abs=0.03)
    assert values["flags"].get("hscore") is None
    assert compute(features=WIDE, labels=FEW)["flags"]["hscore"]["saturated"] == 1


def test_published_values_of_maps(compute: Compute):
    values = compute(maps=MAPS, masks=MASKS)
    assert values.keys() == OF_MAPS.keys() | {"flags"}
    for key, published in OF_MAPS.items():
        assert values[key] == pytest.approx(published, abs=1e-8), key


def test_embeddings_of_labels(compute: Compute, refused: Refused):
    values = compute(features=TALL, labels=LABELS, label_embeddings=np.stack([np.eye(3), 2 * np.eye(3)]))
    assert values["emms_embedded"] == pytest.approx(values["emms"], abs=1e-12)  # standardised, both are the one-hot labels
    message = refused(features=TALL, labels=LABELS, label_embeddings=np.eye(2))
    assert "expected labels from 0 to 1" in message and "but got 0 to 2" in message


def test_nearest_neighbours_equal_those_of_a_library(compute: Compute):
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=6, metric="cosine").fit(TALL).kneighbors(TALL, return_distance=False)[:, 1:]
    guess = [np.bincount(LABELS[row]).argmax() for row in nearest]
    assert compute(features=TALL, labels=LABELS)["knn"] == pytest.approx(np.mean(guess == LABELS))


def test_diagonal_gaussians_by_hand(compute: Compute):
    total = 0.0
    parts = [TALL[label::3] for label in range(3)]
    for a, one in enumerate(parts):
        for other in parts[:a] + parts[a + 1 :]:
            first, second = (np.maximum(rows.var(0), 1e-4) for rows in (one, other))
            middle = (first + second) / 2
            distance = np.sum((one.mean(0) - other.mean(0)) ** 2 / middle) / 8
            total -= np.exp(-distance - 0.5 * np.sum(np.log(middle / np.sqrt(first * second))))
    assert compute(features=TALL, labels=LABELS)["gbc_diag"] == pytest.approx(total, abs=1e-10)


def test_only_what_the_files_allow_is_computed(compute: Compute):
    for name in ("features", "features2"):
        given = {"features": TALL, name: TALL}
        expected = {key for key, indicator in KEYS.items() if set(indicator.needs) <= given.keys()}
        assert compute(**given).keys() == expected | {"flags"}
    assert compute(probs=probabilities(LABELS), labels=LABELS).keys() == {"leep", "nce", "flags"}


def test_types_of_numbers_change_nothing(compute: Compute):
    plain = compute(features=TALL, labels=LABELS)
    flags = plain.pop("flags")
    for features, labels in (
        (np.asfortranarray(TALL), LABELS.astype(np.uint8)), (TALL.astype(">f8"), LABELS.astype(float)), (TALL, 10 * LABELS - 7),
    ):  # fmt: skip
        values = compute(features=features, labels=labels)
        assert values.pop("flags") == flags and values == pytest.approx(plain)


def test_groups_are_left_out_together(compute: Compute):
    pairs = np.repeat(np.arange(30), 2)
    doubled, labels = np.repeat(TALL[:30], 2, axis=0), np.repeat(np.random.default_rng(0).permutation(LABELS[:30]), 2)
    alone, together = compute(features=doubled, labels=labels), compute(features=doubled, labels=labels, groups=pairs)
    assert together["knn"] < alone["knn"] and together["ridge_accuracy"] < alone["ridge_accuracy"]
    assert together["logme"] == alone["logme"]
    images = compute(maps=MAPS, masks=MASKS, groups=np.array([0, 0, 1, 1]))
    assert images["ridge_dice"] != pytest.approx(OF_MAPS["ridge_dice"]) and images["ccfv"] == pytest.approx(OF_MAPS["ccfv"])


def test_masks_of_the_images_are_brought_to_the_grid(compute: Compute):
    fine = MASKS.repeat(2, axis=1).repeat(2, axis=2)
    fine[:, ::2, ::2] = 255 - fine[:, ::2, ::2]  # a quarter of each cell is another class or ignored
    fine[fine > 2] = 255
    values = compute(maps=MAPS, masks=fine.astype(np.uint8))
    assert {key: values[key] for key in OF_MAPS} == pytest.approx(OF_MAPS, abs=1e-8)


def test_ignored_pixels_are_left_out(compute: Compute):
    hidden, other = MASKS.copy(), MAPS.copy()
    hidden[:, :2], other[:, :, :2] = 255, 7.0
    values, same = compute(maps=MAPS, masks=hidden), compute(maps=other, masks=hidden)
    assert same.pop("flags") == values.pop("flags") == {} and same == pytest.approx(values)
    assert values["ridge_dice"] != pytest.approx(OF_MAPS["ridge_dice"])


def test_what_is_not_finite_is_counted(compute: Compute):
    broken, maps = TALL.copy(), MAPS.copy()
    broken[3, 2], broken[5], maps[1, 0, 2, 2] = np.nan, np.inf, np.nan
    zeros = TALL.copy()
    zeros[[3, 5]] = 0
    values, expected = compute(features=broken, labels=LABELS), compute(features=zeros, labels=LABELS)
    assert values["flags"]["logme"] == {"nonfinite": 2} and values["logme"] == expected["logme"]
    assert all(values["flags"][key]["nonfinite"] == 2 for key in values if key != "flags")
    assert compute(maps=maps, masks=MASKS)["flags"]["lbtc"]["nonfinite"] == 1


def test_undefined_values_are_null(compute: Compute):
    values = compute(features=np.ones((6, 3)), labels=np.array([0, 1] * 3))
    assert values["rankme"] is None and values["flags"]["rankme"]["undefined"] == 1
    values = compute(maps=MAPS, masks=0 * MASKS)
    assert values["lbtc"] is values["ccfv"] is None and values["flags"]["lbtc"] == {"images_without_anchors": 4, "undefined": 1}


def test_too_many_samples_for_the_memory_are_flagged(compute: Compute, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    for key in ("fr", "nce", "ridge_dice"):
        monkeypatch.setitem(KEYS, key, replace(KEYS[key], most=59))
    values = compute(features=TALL, labels=LABELS, maps=MAPS, masks=MASKS)
    assert values["fr"] is None and values["flags"]["fr"] == {"too_many": 60, "undefined": 1}
    assert values["flags"]["ridge_dice"]["too_many"] == 256


def test_a_table_shows_each_value_with_what_it_says(run):
    code, out, err = run(features=WIDE, labels=FEW)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert (code, err) == (0, "") and lines.keys() == {key for key in KEYS if set(KEYS[key].needs) <= {"features", "labels"}}
    assert "-0.0119144" in lines["logme"] and KEYS["logme"].says in lines["logme"] and "[rank_deficit 12]" in lines["logme"]


def test_help_says_what_each_needs(run):
    code, out, _ = run("--help")
    text = " ".join(out.split())
    assert code == 0 and all(f"{option(name)} FILE.npy {says}" in text for name, says in FILES.items())
    for key, indicator in KEYS.items():
        assert f"{key}: {', '.join(indicator.needs)} {indicator.says}" in text.replace("- ", "-")


Q = np.array(["a"])
BAD: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("nothing", {}, ("expected --features, --probs or --maps, but got none",)),
    ("labels alone", {"labels": LABELS}, ("expected --features or --probs or --label-embeddings beside --labels", "labels.npy")),
    ("maps alone", {"maps": MAPS}, ("expected --masks beside --maps", "maps.npy")),
    ("a second view alone", {"features2": TALL}, ("expected --features beside --features2",)),
    ("groups alone", {"groups": LABELS}, ("expected --features or --maps beside --groups",)),
    ("features for labels", {"features": LABELS, "labels": TALL}, ("--features and --labels are swapped", "(60,)", "(60, 8)")),
    ("probabilities for labels", {"probs": LABELS, "labels": TALL}, ("--probs and --labels are swapped",)),
    ("maps for masks", {"maps": MASKS, "masks": MAPS}, ("--maps and --masks are swapped",)),
    ("transposed features", {"features": TALL.T, "labels": LABELS}, ("(8, 60) and (60,)", "transpose features")),
    ("fewer labels", {"features": TALL, "labels": LABELS[1:]}, ("as many labels in", "(60, 8) and (59,)")),
    ("fewer groups", {"features": TALL, "groups": LABELS[1:]}, ("group of each of 60 samples", "but got 59")),
    ("half labels", {"features": TALL, "labels": LABELS / 2}, ("expected whole numbers as labels", "20 of 60", "0.5")),
    ("no labels", {"features": TALL, "labels": LABELS + np.nan}, ("expected whole numbers as labels", "60 of 60", "nan")),
    ("negative masks", {"maps": MAPS, "masks": MASKS - 1}, ("whole numbers from 0 on as masks", "140 of 256")),
    ("coarse masks", {"maps": MAPS, "masks": MASKS[:, ::2]}, ("at least as large as the maps", "(4, 4, 8)")),
    ("one-hot labels", {"features": TALL, "labels": np.eye(3)[LABELS]}, ("expected labels (N,)", "(60, 3)")),
    ("a vector", {"features": TALL[0]}, ("expected features (N, D) or (N, V, D)", "(8,)")),
    ("no samples", {"features": TALL[:0]}, ("expected features", "(0, 8)")),
    ("another width", {"features": TALL, "features2": TALL[:, 1:]}, ("views of one width", "(60, 8)", "(60, 7)")),
    ("one view", {"features2": TALL[:, None]}, ("V >= 2 views", "(60, 1, 8)")),
    ("views twice", {"features": four_views(TALL), "features2": TALL}, ("leave one out",)),
    ("text", {"features": Q}, ("features.npy", "it holds <U1")),
    ("objects", {"features": np.array([{}, 1], dtype=object)}, ("features.npy", "it holds object")),
    ("complex numbers", {"features": TALL + 1j}, ("it holds complex128",)),
    ("only NaN", {"features": TALL * np.nan}, ("expected finite numbers", "each of the 60 rows")),
    ("NaN for probabilities", {"probs": np.where(TALL > 3, np.nan, 1), "labels": LABELS}, ("expected probabilities", "NaN")),
    ("logits", {"probs": TALL, "labels": LABELS}, ("leep: expected rows of probabilities", "probs.npy")),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "parts"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_arrays_are_refused(refused: Refused, arrays: dict[str, Any], parts: tuple[str, ...]):
    message = refused(**arrays)
    assert all(part in message for part in parts), message


def test_one_group_leaves_the_probes_undefined_and_the_rest_computed(run: Callable[..., tuple[int, str, str]], caplog: Any):
    code, out, _ = run("--json", features=TALL, labels=LABELS, groups=0 * LABELS)
    values = json.loads(out)
    assert code == 0 and values["ridge_accuracy"] is None and values["knn"] is None
    assert values["logme"] == pytest.approx(-0.0337838226, abs=1e-8)
    assert "ridge_accuracy is not defined: expected at least 2 groups" in caplog.text


@pytest.mark.parametrize("content", [b"", b"1,2\n3,4\n", b"\x80\x04K\x01."], ids=["empty", "a table", "a pickle"])
def test_files_of_another_kind_are_refused(refused: Refused, tmp_path: Path, content: bytes):
    (tmp_path / "features.npy").write_bytes(content)
    assert "expected an array in" in (message := refused(features=None)) and "features.npy" in message
    (tmp_path / "features.npy").unlink()
    assert "there is none" in refused(features=None)


@pytest.mark.slow
def test_the_command_in_a_process(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "medtransfer", "indicators", *words(tmp_path, {"maps": MAPS, "masks": MASKS}), "--json"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.stdout)["ccfv"] == pytest.approx(OF_MAPS["ccfv"], abs=1e-8) and cli.commands["indicators"]
