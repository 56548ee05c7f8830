"""Portions of a target by hand: folds of patients, subsets after the split, and a study over sizes and folds."""

import json
import logging
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtransfer import study
from medtransfer.errors import InputError
from medtransfer.finetune.portions import Portions
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import INDEX_COLUMNS, Cell, CellName, PreparedTarget, TargetInfo
from medtransfer.tasks import TASKS

CELL = CellName("made", "unet", "simple", 1, "full", 7)
SPLITS = ["train"] * 30 + ["validation"] * 10 + ["test"] * 8


def target(folder: Path, task: str = "multiclass", copies: tuple[int, ...] = ()) -> PreparedTarget:
    """Write 48 pictures in pairs, one pair per patient; every sixth patient has the third class."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 4, 4, 1), dtype=np.uint8)
    for copy in copies:
        images[copy] = images[0]
    labels = np.repeat([2 if pair % 6 == 5 else pair % 2 for pair in range(24)], 2).astype(np.uint8)
    np.save(folder / "images.npy", images)
    several = task in ("multilabel", "segmentation")
    classes = ["a", "b"] if several else ["a", "b", "c"]
    if task == "segmentation":
        np.save(folder / "masks.npy", np.broadcast_to(labels[:, None, None], (48, 4, 4)))
    else:
        np.save(folder / "labels.npy", np.stack([labels == 1, labels == 2], axis=1).astype(np.uint8) if several else labels)
    rows = [(i, i, SPLITS[i], f"p{i // 2}", f"{i}.png", 0, 0, 0, 4, 4) for i in range(48)]
    pd.DataFrame(rows, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
    TargetInfo(
        target="made", reader="made", task=task, citation="", classes=classes, channels=1, input=[4, 4], augmentation="affine",
        scaling="", counts={}, expected={}, subset=False, sources={}, arrays={}, settings={},
    ).write(folder / "dataset.json")  # fmt: skip
    return PreparedTarget.open(folder)


def portions(made: PreparedTarget, tiny_params: Any, **values: Any) -> Portions:
    return Portions(made, Protocol.of(tiny_params({f"finetune.{name}": value for name, value in values.items()}).finetune))


def sources(portion: PreparedTarget, split: str) -> list[str]:
    return portion.samples(split)["source"].tolist()


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "segmentation"])
def test_folds_take_the_validation_split_in_and_never_divide_a_patient(task, tmp_path, tiny_params):
    made = portions(target(tmp_path, task, copies=(8, 30)), tiny_params)
    cells = [made.of(replace(CELL, fold=fold, folds=4)) for fold in (1, 2, 3, 4)]
    held = [sources(cell, "validation") for cell in cells]
    assert Counter(source for fold in held for source in fold) == Counter(f"{i}.png" for i in range(40))
    for cell in cells:
        assert not set(cell.samples("train")["group"]) & set(cell.samples("validation")["group"])
        assert len(cell.samples("train")) + len(cell.samples("validation")) == 40
        assert sources(cell, "test") == [f"{i}.png" for i in range(40, 48)]
        copies = {"0.png", "8.png", "30.png"}
        assert copies <= set(sources(cell, "train")) or copies <= set(sources(cell, "validation"))
    assert max(map(len, held)) - min(map(len, held)) <= 4


def test_without_a_portion_the_target_is_the_same(tmp_path, tiny_params):
    made = target(tmp_path)
    assert portions(made, tiny_params).of(CELL) == made


@pytest.mark.parametrize("divided", [{}, {"fold": 2, "folds": 4}])
def test_a_subset_is_drawn_from_what_is_left_to_train_on(divided, tmp_path, tiny_params):
    made = portions(target(tmp_path), tiny_params)
    whole, few, more = (made.of(replace(CELL, size=size, **divided)) for size in (None, 6, 12))
    assert set(sources(more, "train")) <= set(sources(whole, "train")) and len(sources(more, "train")) == 12
    assert sources(few, "train") == sources(more, "train")[:6]
    for split in ("validation", "test"):
        assert sources(few, split) == sources(whole, split)
    other = replace(CELL, size=6, encoder="swin", origin="advanced", epoch=0, mode="decoder", **divided)
    assert sources(made.of(other), "train") == sources(few, "train")  # so candidates are compared on the same images
    assert sources(made.of(replace(other, seed=8)), "train") != sources(few, "train")


def test_folds_draw_apart_and_one_seed_may_serve_all(tmp_path, tiny_params):
    made = portions(target(tmp_path), tiny_params, subset_seed=3)
    cells = [replace(CELL, size=6, fold=fold, folds=4, seed=seed) for fold in (1, 2) for seed in (7, 8)]
    drawn = [sources(made.of(cell), "train") for cell in cells]
    assert drawn[0] == drawn[1] and drawn[2] == drawn[3] and drawn[0] != drawn[2]


def test_a_class_that_is_too_small_is_repeated_in_training_alone_and_said(tmp_path, tiny_params, caplog):
    caplog.set_level(logging.INFO)
    made = target(tmp_path)
    portion = portions(made, tiny_params).of(replace(CELL, size=24))
    samples = TASKS["multiclass"].samples(portion, "train", augment=True, mean=(0.5,), std=(0.2,), seed=0)
    assert Counter(samples.label(index) for index in range(24)) == {0: 8, 1: 8, 2: 8}
    classes = dict(zip(sources(made, "train"), made.image_labels[:30].tolist(), strict=True))
    repeated = {source for source, times in Counter(sources(portion, "train")).items() if times > 1}
    assert {classes[source] for source in repeated} == {2} and len(repeated) == 4
    assert "has 4 training images of c for 8 of the subset: 4 are repeated" in caplog.text
    assert "24 of 30 training images (8 a, 8 b, 8 c), seed 7" in caplog.text
    for split in ("validation", "test"):
        assert max(Counter(sources(portion, split)).values()) == 1


@pytest.mark.parametrize(("sampling", "expected"), [("balanced", [4, 4, 4]), ("stratified", [5, 5, 2])])
def test_the_sampling_says_how_classes_are_shared(sampling, expected, tmp_path, tiny_params):
    made = portions(target(tmp_path), tiny_params, sampling=sampling).of(replace(CELL, size=12))
    labels = made.image_labels[made.samples("train")["row"]]
    assert np.abs(np.bincount(labels) - expected).max() <= 1


def test_random_images_need_no_labels(tmp_path, tiny_params):
    made = portions(target(tmp_path), tiny_params, sampling="random").of(replace(CELL, size=0.2))
    assert len(set(sources(made, "train"))) == 6


def test_what_cannot_be_divided_is_refused(tmp_path, tiny_params):
    made = target(tmp_path)
    with pytest.raises(InputError, match="expected finetune.validation 0 beside folds"):
        portions(made, tiny_params, validation=0.2).of(replace(CELL, fold=1, folds=4))
    with pytest.raises(InputError, match="from 1 to the 30 training images that are left, but got 31"):
        portions(made, tiny_params).of(replace(CELL, size=31))


def test_cells_of_all_images_keep_their_keys():
    """The digest by hand, of a cell without the fields."""
    rest = {"source": "made", "protocol": "p", "pretraining": "a", "weights": "w", "data": "d"}
    cell = Cell(**vars(CELL), **rest)
    assert cell.key == "349fd5748c2e0a43"
    keys = {
        replace(cell, **values).key for values in ({"size": 20}, {"size": 0.2}, {"fold": 1, "folds": 5}, {"fold": 1, "folds": 4})
    }
    assert len(keys | {cell.key}) == 5
    assert Cell(**json.loads(json.dumps(asdict(replace(cell, size=0.05))))) == replace(cell, size=0.05)


def test_cells_have_names_and_folders_of_their_own():
    cell = replace(CELL, size=0.05, fold=2, folds=5)
    assert cell.name == "e001 full s7 n5% f2/5 · unet-simple → made"
    assert cell.folder(Path("models")).name == "e001-full-s7-n0.05-f2of5"
    assert replace(CELL, size=20).folder(Path("models")).name == "e001-full-s7-n20"


def test_a_study_is_every_size_and_fold(tiny_params):
    params = tiny_params({"study.sizes": [20, "5%", "100%"], "study.folds": 3, "study.modes": ["full"], "study.seeds": [7]})
    assert params.study.sizes == [20, 0.05, None]
    cells = [(cell.size, cell.fold, cell.folds) for cell in study.study_cells(params, {"epoch": [0]})]
    assert cells == [(size, fold, 3) for size in (20, 0.05, None) for fold in (1, 2, 3)]
    one = study.study_cells(params, {"epoch": [0], "size": [20], "fold": [2]})
    assert [(cell.size, cell.fold) for cell in one] == [(20, 2)]
