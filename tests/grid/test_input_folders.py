"""Folders of images that a study lacks: a grid is refused where nothing can be done without them, else they are named."""

import logging
from pathlib import Path

import pytest

from medtransfer.errors import InputError
from medtransfer.grid import stage
from medtransfer.grid.input_folders import check_folders
from medtransfer.grid.jobs import plan

TWO = {
    "prepare.targets.other": {
        "reader": "acdc", "root": "raw/other", "size": [32, 32], "subset": True, "split": "official", "validation": 0.0,
        "allow_duplicates": False, "options": {},
    },
    "study.targets": ["sample", "other"],
}  # fmt: skip


def test_a_grid_without_any_of_its_images_is_refused(workplace: Path, tiny_params, monkeypatch):
    monkeypatch.setattr(stage, "launch", lambda *_: pytest.fail("a worker was started"))
    without = {"prepare.targets.sample.root": "raw/heart", "pretrain.source_root": "raw/pictures"}
    with pytest.raises(InputError) as refused:
        stage.run(tiny_params(without))
    both = "2 folders are missing: target sample (raw/heart), source sample (raw/pictures); put them in place"
    assert str(refused.value).startswith(f"expected the images of the study, but {both}")
    with pytest.raises(InputError, match="but 1 folder is missing: source sample .raw/pictures.; put"):
        stage.run(tiny_params({"pretrain.source_root": "raw/pictures"}))


def test_what_some_fine_tunings_lack_is_named(workplace: Path, tiny_params, caplog):
    params = tiny_params(TWO)
    jobs = plan(params)
    cells = sum(job.kind == "finetune" and job.target == "other" for job in jobs)
    with caplog.at_level(logging.WARNING, "medtransfer"):
        check_folders(params, jobs)
    assert caplog.messages == [f"grid: 1 folder is missing: target other (raw/other); {cells} fine-tunings cannot be done"]


def test_a_study_of_scores_alone_is_judged_by_them(workplace: Path, tiny_params, caplog):
    scores = {**TWO, "study.modes": []}
    with caplog.at_level(logging.WARNING, "medtransfer"):
        check_folders(tiny_params(scores), plan(tiny_params(scores)))
    assert caplog.messages == ["grid: 1 folder is missing: target other (raw/other); 1 scoring cannot be done"]
    alone = tiny_params({**scores, "study.targets": ["other"]})
    with pytest.raises(InputError, match="but 1 folder is missing: target other"):
        check_folders(alone, plan(alone))


def test_a_target_that_no_job_prepares_is_missing(workplace: Path, tiny_params):
    params = tiny_params({**TWO, "study.targets": ["sample"], "pretrain.source_root": "data/prepared/other"})
    with pytest.raises(InputError, match="but 1 folder is missing: source sample .data/prepared/other"):
        check_folders(params, plan(params))


@pytest.mark.parametrize("absolute", [False, True])
def test_folders_that_are_made_are_not_missing(absolute, workplace: Path, tiny_params, caplog):
    """Generated datasets, the prepared target that a pretraining reads, and what finished jobs have read."""
    prepared = "data/prepared/sample"
    made = {
        "prepare.targets.sample.root": "data/samples/heart",
        "samples.out": "data/samples",
        "pretrain.source_root": str(workplace / prepared if absolute else prepared),
    }
    check_folders(params := tiny_params(made), plan(params))
    left = [job for job in plan(tiny_params(TWO)) if job.target != "other" or job.kind == "finetune"]
    check_folders(tiny_params(TWO), left)
    assert not caplog.messages
