"""What `grid --plan` says about a study before it runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.tiny_encoders import TINIEST

from medtransfer import tracking
from medtransfer.analysis.evidence import relative_spread
from medtransfer.analysis.pool import Pool
from medtransfer.cli import cli
from medtransfer.config import Params
from medtransfer.environment import machine
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.forecast import forecast
from medtransfer.grid.stage import run
from medtransfer.hashing import digest
from medtransfer.metrics.power import detectable_gap, seeds_needed
from medtransfer.records import TargetInfo
from medtransfer.tasks import TASKS

Make = Callable[..., Params]
NOT_HERE = "which are made again: these, or what they need, are of other settings or not complete on disk"


@pytest.mark.parametrize(("effect", "size"), [(1.0, 17), (0.8, 26), (0.5, 64)])
def test_seeds_needed_are_those_of_tables(effect: float, size: int) -> None:
    """Cohen, A power primer, Psychological Bulletin 112, 1992, table 2: two means, power .8, two-sided at 5 %."""
    assert seeds_needed(0.01, 0.01 * effect, 0.95) == size
    assert detectable_gap(0.01, size, 0.95) <= 0.01 * effect < detectable_gap(0.01, size - 1, 0.95)


def test_jobs_are_counted(workplace: Path, tiny_params: Make) -> None:
    text = forecast(tiny_params())
    assert "| finetune |      16 |      0 |" in text and "| pretrain |       1 |      0 |" in text
    assert "1 pretraining: unet-simple. 1 target: sample." in text
    assert "takes at least 6 pretrainings or targets, and there are 1 pretraining and 1 target." in text
    assert "With 2 seeds" in text


@pytest.mark.parametrize(("workers", "words"), [(1, "1 local worker"), (2, "2 local workers")])
def test_a_plan_says_of_what_the_end_is_unknown(workers: int, words: str, workplace: Path, tiny_params: Make) -> None:
    text = f"\n\nStarted now on {words}: the end is unknown until the first preparation, pretraining, scoring and fine-tuning have"
    assert text in forecast(tiny_params({"grid.workers": workers}))


def test_a_plan_says_when_it_would_end(workplace: Path, tiny_params: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen fine-tunings of ten minutes are left, which take 80 minutes on two workers."""
    params, ends = tiny_params({"grid.workers": 2}), []
    monkeypatch.setattr("medtransfer.grid.forecast.find_reused", lambda params, jobs: {job for job in jobs if not job.cell})
    monkeypatch.setattr("medtransfer.grid.forecast.describe_end", lambda left, now: ends.append(left) or "ends in time")
    for mode in params.study.modes:
        fields = {"target": "sample", "encoder": "unet", "mode": mode, "protocol": Protocol.of(params.finetune).key}
        tags = {"seconds": "600.0", "machine": machine()}
        record = tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": 0.5}, {}, tags)
        tracking.write_runs("finetune", [record], "runs")
    assert "Started now on 2 local workers: ends in time.\n" in forecast(params)
    assert 0.5 * 4800 < ends[0].low < 4800 < ends[0].high < 2 * 4800 and not ends[0].unknown


def test_a_plan_refuses_the_resources_that_the_run_would(workplace: Path, tiny_params: Make) -> None:
    params = tiny_params({"grid.resources": {"pretrain": {"memory_gb": 1e6}}, "finetune.accelerator": "cpu"})
    said = []
    for command in (forecast, run):
        with pytest.raises(
            InputError, match=r"expected grid.resources.pretrain.memory_gb for pretrain unet-simple to fit"
        ) as error:
            command(params)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("reader", "row"),
    [
        ("idrid", "| sample | 0.0095 | the paper, idrid | 0.0537   | 16  "),
        ("folder", "| sample | 0.0032 | the paper  | 0.0181   | 3  "),
    ],
)
def test_the_published_spread_is_used_without_results(reader: str, row: str, workplace: Path, tiny_params: Make) -> None:
    """With two seeds the gap is 5.6535 deviations, by integrating the power over the distribution of the spread."""
    assert row in forecast(tiny_params({"prepare.targets.sample.reader": reader}))


def test_the_published_spread_of_dice_says_nothing_about_labels(workplace: Path, tiny_params: Make) -> None:
    params = tiny_params({"prepare.targets.sample.reader": "table"})
    path = Path(params.prepare.out) / "sample" / "dataset.json"
    info = TargetInfo(
        "sample", "table", "binary", "own", ["ill"], 1, [32, 32], "affine", "none", {"train": 2}, {}, False, {},
        {"labels.npy": "0"}, {},
    )  # fmt: skip
    path.parent.mkdir(parents=True)
    info.write(path)
    assert "| sample | unknown | –          | –        | –" in forecast(params)


def test_a_gap_that_no_two_checkpoints_can_have_is_not_told(
    workplace: Path, tiny_params: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medtransfer.grid.forecast.detectable_gap", lambda spread, seeds, confidence: 3.6845)
    assert "| none     |" in forecast(tiny_params())


def test_one_seed_distinguishes_nothing(workplace: Path, tiny_params: Make) -> None:
    text = forecast(tiny_params({"study.seeds": [7]}))
    assert "With one seed no two checkpoints can be distinguished." in text and "| none     |" in text


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"study.pretraining_seeds": [1, 2, 3], "study.origins": ["simple", "advanced"]},
         "intervals, from 6 pretrainings. They hold for other pretraining seeds of these encoders and origins only."),
        ({"study.encoders": list(TINIEST)[:3], "study.pretraining_seeds": [1, 2], "study.origins": ["simple", "advanced"]},
         "intervals, from 6 pretrainings."),
        ({"study.origins": ["simple", "advanced"], "study.pretraining_seeds": [1, 2]}, "there are 4 pretrainings and 1 target."),
    ],
)  # fmt: skip
def test_what_has_intervals_is_counted_in_clusters(changed: dict, sentence: str, workplace: Path, tiny_params: Make) -> None:
    paragraphs = forecast(tiny_params(changed)).split("\n\n")
    assert any(paragraph.endswith(sentence) for paragraph in paragraphs), paragraphs


def test_a_result_on_another_size_or_fold_does_not_count(workplace: Path, tiny_params: Make) -> None:
    params = tiny_params({"study.sizes": [6, 0.5], "study.folds": 2, "study.modes": ["full"], "study.seeds": [7]})
    for portion in (("6", "1", "2"), ("0.5", "1", "2"), ("6", "1", "3"), ("None", "None", "None")):
        fields = {
            "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
            "data": "d", "protocol": Protocol.of(params.finetune).key, "epoch": 0, "seed": 7, "primary": "dice",
            **dict(zip(("size", "fold", "folds"), portion, strict=True)),
        }  # fmt: skip
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": 0.5})], "runs")
    assert f"; the store has results of 2 fine-tunings to do, {NOT_HERE}\n" in forecast(params)


def test_results_in_the_store_count_and_give_the_spread(workplace: Path, tiny_params: Make) -> None:
    """Epochs 1 and 2 have the variances .0002 and 0, so their pooled spread is .01; the best mean is .8."""
    params = tiny_params()
    for epoch, values in {0: (0.1, 0.3), 1: (0.59, 0.61), 2: (0.8, 0.8)}.items():
        for seed, value in zip((7, 8), values, strict=True):
            fields = {
                "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": "full", "pretraining": "p",
                "data": "d", "protocol": Protocol.of(params.finetune).key, "epoch": epoch, "seed": seed, "primary": "dice",
            }  # fmt: skip
            record = tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": value})
            tracking.write_runs("finetune", [record], "runs")
    text = forecast(params)
    assert "| finetune |      16 |      0 |" in text and f"; the store has results of 6 fine-tunings to do, {NOT_HERE}\n" in text
    assert "| sample | 0.0125 | 1 configuration |" in text


def test_the_command_prints_the_plan_and_runs_nothing(workplace: Path, tiny_params: Make) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump(mode="json")))
    before = set(workplace.iterdir())
    result = CliRunner().invoke(cli, ["grid", "--plan"])
    assert result.exit_code == 0 and result.output.startswith("| job "), result.output
    assert set(workplace.iterdir()) - before <= {workplace / ".medtransfer"} and tracking.read_runs("grid") == []


def test_the_spread_is_pooled_over_trained_checkpoints() -> None:
    outcome = {(0, 1): 0.1, (0, 2): 0.9, (1, 1): 0.48, (1, 2): 0.52, (5, 1): 0.79, (5, 2): 0.81}
    fields = {"source": "s", "origin": "simple", "encoder": "unet", "target": "t", "mode": "full"}
    pool = Pool(fields, {}, outcome, {}, (0, 1, 5), TASKS["segmentation"].primary)
    assert relative_spread(pool) == pytest.approx(((0.0008 + 0.0002) / 2) ** 0.5 / 0.8)
