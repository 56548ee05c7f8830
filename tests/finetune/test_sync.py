"""Fine-tuned models on disk become the runs that their training would have left; what is unfinished is named and left out."""

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.stored_runs import stored_runs
from tests.tasks.fakes import Watched

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.finetune import sync
from medtransfer.finetune.keys_on_disk import KeysOnDisk
from medtransfer.finetune.stage import run
from medtransfer.finetune.sync import publish
from medtransfer.locks import exclusive
from medtransfer.records import CellName, file_states
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result

MODELS, PREPARED, CHECKPOINTS = Path("models"), Path("data/validated"), Path("checkpoints")
CELLS = [CellName("sample", "unet", "simple", 3, mode, 7) for mode in ("full", "decoder")]
FOLDER = MODELS / "sample" / "unet-simple" / "e003-full-s7"


@pytest.fixture(scope="module")
def tuned(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of work in which two cells were fine-tuned, with validation samples."""
    study.prepare(tiny_params({"prepare.out": str(PREPARED), "prepare.targets.sample.validation": 0.34}))
    study.pretrain(tiny_params())
    run(tiny_params().finetune, CELLS, CHECKPOINTS, PREPARED)
    return shared_workplace


@pytest.fixture
def elsewhere(tuned: Path, workplace: Path) -> Path:
    """Work on another machine: the stages' files in an empty folder with an empty store; return the first store."""
    for name in ("checkpoints", "data", "models"):
        shutil.copytree(tuned / name, workplace / name)
    return tuned / "mlflow.db"


def test_the_runs_are_those_of_the_stage_and_are_reused(elsewhere, tiny_params, monkeypatch):
    assert publish(MODELS, PREPARED) == 2
    found = stored_runs("finetune")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
        assert found == stored_runs("finetune")
    assert len(found) == 2
    assert all(set(one["curves"]["validation_dice"]) == {1, 2} for one in found.values())
    assert publish(MODELS, PREPARED) == 0
    watched = Watched()
    monkeypatch.setitem(TASKS, "segmentation", watched)
    run(tiny_params().finetune, CELLS, CHECKPOINTS, PREPARED)
    assert watched.epochs == []
    assert len(tracking.read_runs("finetune")) == 2


def test_of_what_the_store_has_no_run_is_built(elsewhere, monkeypatch):
    assert publish(MODELS, PREPARED) == 2
    monkeypatch.setattr("medtransfer.finetune.sync.record_of", lambda result, *_: pytest.fail(f"built {result.key}"))
    assert publish(MODELS, PREPARED) == 0


def test_a_model_that_a_process_works_on_is_left_alone(elsewhere, caplog):
    caplog.set_level(logging.WARNING, "medtransfer")
    (FOLDER / "metrics.json").write_text("half of i")
    with exclusive(FOLDER):
        assert publish(MODELS, PREPARED) == 1 and caplog.text == ""  # the other one
    assert publish(MODELS, PREPARED) == 0 and "e003-full-s7" in caplog.text


def test_what_the_store_has_is_read_once_until_it_changes(elsewhere, monkeypatch):
    assert publish(MODELS, PREPARED) == 2
    read = []
    monkeypatch.setattr(sync, "read_result", lambda path: read.append(path) or read_result(path))
    monkeypatch.setattr(file_states, "SETTLED", 3600)  # they may still change without another time of change
    assert publish(MODELS, PREPARED) == 0 and len(read) == 2
    monkeypatch.setattr(file_states, "SETTLED", -60)
    assert publish(MODELS, PREPARED) == 0 and len(read) == 4  # which remembers them
    assert publish(MODELS, PREPARED) == 0 and len(read) == 4
    change(key="another")
    assert publish(MODELS, PREPARED) == 0 and len(read) == 5
    for file in Path(".medtransfer/results").iterdir():
        file.write_text('{"sample": 3}')
    assert publish(MODELS, PREPARED) == 0 and len(read) == 7
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///another.db")
    assert publish(MODELS, PREPARED) == 1  # the one that was not changed: it is known, but not stored


@pytest.mark.parametrize("key", ['"another"', "3", "null", "[]", "{}"])
def test_a_damaged_cache_is_read_past(key, elsewhere, monkeypatch):
    """Also one that holds something else for a file as it is."""
    monkeypatch.setattr(file_states, "SETTLED", -60)
    assert publish(MODELS, PREPARED) == 2
    (cache,) = Path(".medtransfer/results").iterdir()
    kept = cache.read_text()
    known = {name: [*state, json.loads(key)] for name, (*state, _) in json.loads(kept).items()}
    cache.write_text(json.dumps(known))
    assert publish(MODELS, PREPARED) == 0 and cache.read_text() == kept


def test_a_cache_of_another_shape_is_made_again(elsewhere, monkeypatch):
    monkeypatch.setattr(file_states, "SETTLED", -60)
    assert publish(MODELS, PREPARED) == 2
    (cache,) = Path(".medtransfer/results").iterdir()
    kept = cache.read_bytes()
    for content in (b"", b"\xff", b"[1]", b"3", b"null", b'{"a": null}', b'{"a": [1, 2]}', b"[" * 100_000):
        cache.write_bytes(content)
        assert publish(MODELS, PREPARED) == 0 and cache.read_bytes() == kept


def test_without_a_place_for_the_cache_results_are_published(elsewhere):
    """As for a user who may only read the project."""
    Path(".medtransfer").mkdir()
    Path(".medtransfer/results").touch()
    assert publish(MODELS, PREPARED) == 2


def test_a_result_that_is_finished_meanwhile_is_published(elsewhere, monkeypatch, caplog):
    """It is read next time, too, since its state is not known."""
    path = (FOLDER / "metrics.json").rename("finished.json")
    find = KeysOnDisk.find

    def finish(keys, name):
        key = find(keys, name)
        if MODELS / name == FOLDER:
            path.rename(FOLDER / "metrics.json")
        return key

    monkeypatch.setattr(KeysOnDisk, "find", finish)
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(MODELS, PREPARED) == 2 and caplog.text == ""


def test_a_published_model_comes_back_from_the_store(elsewhere, tiny_params):
    Path("data").rename("elsewhere")  # the prepared target need not exist
    assert publish(MODELS, PREPARED) == 2
    Path("elsewhere").rename("data")
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    shutil.rmtree(FOLDER)
    run(tiny_params().finetune, CELLS[:1], CHECKPOINTS, PREPARED)
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == before


def test_nothing_on_disk_is_nothing_to_write(workplace, caplog):
    assert publish(MODELS, PREPARED) == 0
    assert caplog.text == ""


def drop(name: str) -> None:
    (FOLDER / name).unlink()


def change(**fields: Any) -> None:
    """Change fields of the record."""
    path = FOLDER / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


FAULTS = {
    "unfinished": (lambda: drop("metrics.json"), "metrics.json"),
    "no weights": (lambda: drop("weights.safetensors"), "weights.safetensors beside .*; fine-tune again or fetch it"),
    "cut off": (lambda: (FOLDER / "metrics.json").write_text('{"format": "medtr'), "metrics.json"),
    "of another version": (lambda: change(format="medtransfer/result/99"), "medtransfer/result/2"),
    "of an older version": (
        lambda: change(format="medtransfer/result/1"),
        "which an older version of medtransfer wrote; move it away",
    ),
    "of an unknown task": (
        lambda: change(task="translation"),
        "one of segmentation, binary, multilabel, multiclass, ordinal, but got 'translation'",
    ),
    "of another cell": (lambda: change(key="another"), "the key of its cell in .* but got another"),
    "a cell with other fields": (lambda: change(cell={"what": 1}), "TypeError"),
    "a circular link": (lambda: (drop("metrics.json"), (FOLDER / "metrics.json").symlink_to("metrics.json")), "leads nowhere"),
    "a foreign recipe": (lambda: change(settings={"what": 1}), "KeyError"),
    "curves that are none": (lambda: change(curves=[1, 2]), "curves .* must be a mapping of keys to values"),
}


@pytest.mark.parametrize("closed", [MODELS, MODELS / "sample", FOLDER.parent])
def test_a_closed_folder_of_models_is_named(closed, elsewhere, closed_folder, caplog):
    closed_folder(closed)
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(MODELS, PREPARED) == 0
    assert (
        f"1 folder of fine-tunings on disk cannot be read; only what the tracking store already has is used: {closed} ("
        in caplog.text
    )


def test_links_to_models_are_followed(elsewhere):
    Path("models").rename("disk")
    MODELS.mkdir()
    (MODELS / "sample").symlink_to(Path("disk/sample").resolve())
    (MODELS / "circle").symlink_to("circle")
    assert publish(MODELS, PREPARED) == 2


def test_an_interrupted_training_is_no_unreadable_result(elsewhere, caplog):
    for path in list(FOLDER.iterdir()):
        path.unlink()
    (FOLDER / ".resume.safetensors").write_bytes(b"of epoch 3")
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(MODELS, PREPARED) == 1 and caplog.text == ""  # the other one


def test_a_folder_that_may_not_be_read_is_named(elsewhere, monkeypatch, caplog):
    """Such as one of another user; for root, who may read every folder, too."""
    stat, listdir = os.stat, os.listdir

    def refuse(call, path, *args, **kwargs):
        if Path(path) == FOLDER / "metrics.json" or (call is listdir and Path(path) == FOLDER):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return call(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", partial(refuse, stat))
    monkeypatch.setattr(os, "listdir", partial(refuse, listdir))
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(MODELS, PREPARED) == 1  # the other one
    (message,) = caplog.messages
    assert f"{FOLDER} (PermissionError: [Errno 13] Permission denied: '{FOLDER}')" in message


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_unfinished_or_foreign_is_left_out_with_one_warning(name, elsewhere, caplog):
    fault, words = FAULTS[name]
    fault()
    caplog.set_level(logging.WARNING, "medtransfer")
    assert publish(MODELS, PREPARED) == 1  # the other one
    (message,) = caplog.messages
    assert (
        f"1 folder of fine-tunings on disk cannot be read; only what the tracking store already has is used: {FOLDER} (" in message
        and re.search(words, message)
    )
    assert [one.params["mode"] for one in tracking.read_runs("finetune")] == ["decoder"]
