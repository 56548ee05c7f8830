"""Finished jobs are found before anything starts, and models are kept by the policy."""

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.finetune.pruning import prune
from medtransfer.grid import stage
from medtransfer.grid.input_folders import check_folders
from medtransfer.grid.jobs import plan
from medtransfer.grid.kept import disk_use, keep_winners
from medtransfer.grid.reuse import describe_reuse, find_reused
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE
from medtransfer.tasks.results import read_result

pytestmark = pytest.mark.long
OVERRIDES = {"study.modes": ["full"], "study.seeds": [7], "finetune.overlays": 0}  # four cells, one per checkpoint


@pytest.fixture
def without_images(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Function that returns the params of a study that has ended, whose images were moved away since."""
    made, raw = tiny_params(), workplace / "raw"
    shutil.copytree(made.prepare.targets["sample"].root, raw / "heart")
    shutil.copytree(made.pretrain.source_root, raw / "pictures")
    here = {**OVERRIDES, "prepare.targets.sample.root": "raw/heart", "pretrain.source_root": "raw/pictures"}
    for job in plan(tiny_params(here)):
        job.run(tiny_params(here))
    raw.rename("elsewhere")
    return lambda **values: tiny_params({**here, **{key.replace("__", "."): value for key, value in values.items()}})


def test_results_are_reused_without_the_images_that_they_were_made_of(
    without_images: Callable[..., Params], caplog: pytest.LogCaptureFixture
) -> None:
    assert names(without_images()) == set()
    (warned,) = caplog.messages  # of the target, whose record has no folder to compare
    assert warned.startswith("prepare: raw/heart is not here: data/prepared/sample, which was prepared by the same settings")
    more = without_images(study__seeds=[7, 8])
    to_do = [job for job in plan(more) if job.name in names(more)]
    assert {job.kind for job in to_do} == {"finetune"} and all(job.cell and job.cell.seed == 8 for job in to_do)
    caplog.clear()
    check_folders(more, to_do)
    assert not caplog.messages
    to_do[0].run(more)
    caplog.set_level(logging.INFO, "medtransfer")
    study.pretrain(more)
    assert "raw/pictures is not here; what was trained in checkpoints/unet-simple is compared without it" in caplog.text


def test_what_cannot_be_made_again_without_its_images_stays(without_images: Callable[..., Params]) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for name in ("checkpoints", "data") for path in Path(name).rglob("*.*")}

    before = files()
    other = without_images(prepare__targets__sample__validation=0.3, pretrain__lr=0.5)
    for params, force in ((other, False), (without_images(), True)):
        for make in (partial(study.prepare, may_lack_files=True), study.pretrain):
            with pytest.raises(InputError, match="raw/(heart|pictures)"):
                make(params, force=force)
    for params in (other, without_images()):
        with pytest.raises(InputError, match="raw/heart"):
            study.prepare(params)  # alone it says that nothing can be prepared
    with pytest.raises(InputError, match="nowhere"):
        study.pretrain(without_images(pretrain__source_root="nowhere"))
    assert files() == before
    array = Path("data/prepared/sample/images.npy")
    array.write_bytes(array.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="expected .*images.npy as it was prepared"):
        study.prepare(without_images(), may_lack_files=True)


@pytest.fixture
def finished(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Function that returns the params of a study that has ended, with other values."""
    params = tiny_params(OVERRIDES)
    for job in plan(params):
        job.run(params)

    def changed(**values: object) -> Params:
        return tiny_params({**OVERRIDES, **{key.replace("__", "."): value for key, value in values.items()}})

    return changed


def names(params: Params) -> set[str]:
    jobs = plan(params)
    return {job.name for job in set(jobs) - find_reused(params, jobs)}


def test_what_is_finished_is_reused_and_what_is_not_is_to_do(
    finished: Callable[..., Params], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    params, caplog.handler.level = finished(), logging.INFO
    jobs = plan(params)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file() and "mlflow.db" not in path.name}
    assert find_reused(params, jobs) == set(jobs)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    two = finished(study__seeds=[7, 8])
    assert describe_reuse(plan(two), find_reused(two, plan(two))) == "7 reused, 4 to do (4 fine-tunings)"
    assert len(names(finished(finetune__lr=0.123))) == 4  # another recipe
    assert names(finished(score__repeats=2)) == {"score sample-unet-simple"}
    assert len(names(finished(pretrain__seed=99))) == 1 + 1 + 4  # and what needs the pretraining
    assert len(names(finished(prepare__targets__sample__size=[48, 48]))) == 1 + 1 + 4
    assert {path: path.stat().st_mtime_ns for path in before} == before  # a look-up changes nothing

    cell = next(job.cell for job in jobs if job.cell)
    folder = cell.folder(Path(params.finetune.out))
    (folder / WEIGHTS_FILE).rename(folder / "away")
    assert names(params) == {f"finetune {cell.name}"}
    (folder / "away").rename(folder / WEIGHTS_FILE)
    assert not names(params)

    monkeypatch.setattr(stage, "launch", lambda *_: pytest.fail("a worker is started"))
    with caplog.at_level(logging.INFO, "medtransfer"):
        assert stage.run(params).startswith("4 cells done, 0 failed, 0 remaining")
    assert "grid: 7 reused, 0 to do" in caplog.messages
    assert stage.run(params).startswith("4 cells done") and len(tracking.read_runs("grid")) == 1


def test_the_winner_alone_keeps_its_model(finished: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> None:
    params = finished(finetune__keep="winner")
    jobs = plan(params)
    folders = [job.cell.folder(Path(params.finetune.out)) for job in jobs if job.cell]
    dice = [json.loads((folder / "metrics.json").read_text())["metrics"]["dice"] for folder in folders]
    best = folders[dice.index(max(dice))]
    bytes_of_all = sum((folder / WEIGHTS_FILE).stat().st_size for folder in folders)
    text = disk_use(params, jobs)
    assert (
        f"Disk: 4 models, {bytes_of_all / 1e3:.3g} kB, until the grid has ended; then 1, at most {bytes_of_all / 4e3:.3g} kB"
        in text
    )

    losers = [folder for folder in folders if folder != best]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking, "replace_artifacts", lambda *_: signal.raise_signal(signal.SIGINT))
        prune(losers[0], read_result(losers[0] / "metrics.json"))  # killed in the middle
    assert (losers[0] / WEIGHTS_FILE).exists() and not read_result(losers[0] / "metrics.json").parts
    assert not names(params)  # the result is as good as before

    said = keep_winners(params, jobs)
    assert said == f"kept {best}; removed 3 other models"
    assert {folder for folder in folders if (folder / WEIGHTS_FILE).exists()} == {best}
    assert {folder for folder in folders if (folder / MODEL_FILE).exists()} == {best}
    assert [json.loads((folder / "metrics.json").read_text())["metrics"]["dice"] for folder in folders] == dice
    client = tracking.connect()
    for run in tracking.read_runs("finetune"):
        stored = {Path(each.path).name for each in client.list_artifacts(run.id, "model")}
        kept = read_result(best / "metrics.json").key == run.tags[tracking.CELL]
        assert (WEIGHTS_FILE in stored, MODEL_FILE in stored) == (kept, kept) and "metrics.json" in stored
    assert not names(params) and keep_winners(params, jobs) == f"kept {best}; removed 0 other models"
    study.finetune(params, [job.cell for job in jobs if job.cell])  # reused, not trained again
    assert len(tracking.read_runs("finetune")) == 4


def test_of_results_that_differ_by_rounding_the_first_is_kept(finished: Callable[..., Params]) -> None:
    params = finished(finetune__keep="winner")
    jobs = plan(params)
    folders = [job.cell.folder(Path(params.finetune.out)) for job in jobs if job.cell]
    for folder, dice in zip(folders, (0.9, 0.9444444444444443, 0.9444444444444445, 0.5), strict=True):  # twice 17/18
        record = json.loads((folder / "metrics.json").read_text())
        record["metrics"]["dice"] = dice
        (folder / "metrics.json").write_text(json.dumps(record))
    assert keep_winners(params, jobs) == f"kept {folders[1]}; removed 3 other models"


def test_a_result_of_another_recipe_is_no_winner_and_without_the_best_model_none_is_removed(
    finished: Callable[..., Params], caplog: pytest.LogCaptureFixture
) -> None:
    params = finished(finetune__keep="winner")
    jobs = plan(params)
    folders = [job.cell.folder(Path(params.finetune.out)) for job in jobs if job.cell]
    record = json.loads((folders[0] / "metrics.json").read_text())
    record["metrics"]["dice"], record["key"] = 1.0, "0" * 16  # as left by other settings, and better than all
    (folders[0] / "metrics.json").write_text(json.dumps(record))
    others = folders[1:]
    dice = [json.loads((folder / "metrics.json").read_text())["metrics"]["dice"] for folder in others]
    best = others[dice.index(max(dice))]
    result = read_result(best / "metrics.json")
    prune(best, result)
    assert not keep_winners(params, jobs) and "has no model any more, so no other is removed" in caplog.text
    assert {folder for folder in folders if (folder / WEIGHTS_FILE).exists()} == set(folders) - {best}
    result.write(best / "metrics.json")
    left = [folder for folder in others if folder != best]
    assert sum((folder / WEIGHTS_FILE).exists() for folder in left) == 2


def test_a_broken_record_is_no_finished_fine_tuning(finished: Callable[..., Params]) -> None:
    """A pipe is not waited for either."""
    params = finished()
    first, *rest = (job for job in plan(params) if job.cell)
    folder = first.cell.folder(Path(params.finetune.out))
    for path, damage in product((folder / "metrics.json", folder / MODEL_FILE), (os.mkfifo, write_nested, Path.mkdir)):
        kept = path.rename(folder / "kept")
        damage(path)
        assert find_reused(params, plan(params)).isdisjoint([first]) and find_reused(params, plan(params)).issuperset(rest)
        path.rmdir() if path.is_dir() else path.unlink()
        kept.rename(path)
        assert find_reused(params, plan(params)).issuperset([first, *rest])


def write_nested(path: Path) -> None:
    """Write JSON that is nested too deeply to be read."""
    path.write_text("[" * 100_000, encoding="utf-8")


def test_a_pretraining_on_several_machines_must_be_there_already(tiny_params: Callable[..., Params], workplace: Path) -> None:
    with pytest.raises(InputError, match="expected pretrain.num_nodes 1 in a grid, or finished pretrainings, but got 2"):
        stage.run(tiny_params({"pretrain.num_nodes": 2}))
    assert not Path("data/prepared").exists()


def test_without_models_no_disk_is_used(tiny_params: Callable[..., Params], workplace: Path) -> None:
    params = tiny_params({"finetune.keep": "metrics"})
    assert disk_use(params, plan(params)) == "Disk: no models are kept (finetune.keep: metrics)."
    params = tiny_params({"finetune.keep": "weights"})
    assert "unknown until the first model or checkpoint of unet full, unet decoder" in disk_use(params, plan(params))
