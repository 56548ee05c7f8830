"""Fixtures for the released result files: small ones, written as the paper's authors write them, and the real ones."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.analysis.model import Analysis, Sampling
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.summary import analyse
from medtransfer.config import Replay, Report
from medtransfer.papers.hidy2024.files import read_downstream, read_files, read_robustness
from medtransfer.papers.hidy2024.stage import run
from medtransfer.tasks import TASKS

MODELS = {"unet": "basic U-Net", "resnet50": "ResNet50 Attention U-Net", "swin": "Swin U-Net"}
ENCODERS = {"unet": ("u-net_encoder", 5), "resnet50": ("resnet50", 5), "swin": ("swin_transformer", 4)}
# Spelling in either file; Dice without pretraining; what tells the pairs of an image apart.
TARGETS = {
    "acdc": ("ACDC", "ACDC", 0.85, 0.02),
    "covid-qu": ("COVIDQUDataset", "COVID-QU", 0.75, 0.06),
    "idrid": ("IDRiD", "IDRiD", 0.4, 0.1),
}
DISTANCES = ("cosine_distance", "inv_pearson_corr", "l2_loss")
SCHEMES = ("simple", "advanced")
MARGINS = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
SEEDS = (123124, 123125, 123126, 123127, 123128)


@dataclass(frozen=True)
class Results:
    """Contents of a generated pair of files; the defaults are those of the released ones."""

    encoders: Sequence[str] = tuple(MODELS)
    lengths: Sequence[int] = LENGTHS
    seeds: Sequence[int] = SEEDS
    margins: Sequence[float] = MARGINS
    levels: int = 9

    def downstream(self) -> pd.DataFrame:
        """Make the fine-tunings: Dice follows a course with an inner peak, the same under both schemes."""
        generator = np.random.default_rng(1)
        cells = product(self.encoders, TARGETS, SCHEMES, (False, True), enumerate(self.lengths), self.seeds)
        return pd.DataFrame([self._run(generator, *cell) for cell in cells if cell[2] == "simple" or cell[4][1] != 0])

    def _run(
        self, generator: np.random.Generator, encoder: str, target: str, scheme: str, frozen: bool, length: tuple[int, int],
        seed: int,
    ) -> dict[str, object]:  # fmt: skip
        index, epoch = length
        spelling, _, lowest, _ = TARGETS[target]
        dice = lowest + 0.1 * self.course(index) - 0.02 * frozen + 0.0005 * generator.standard_normal()
        jaccard, noise = dice / (2 - dice), 0.001 * generator.random(7)
        several = target == "acdc"
        line: dict[str, object] = {
            "model": MODELS[encoder], "dataset": spelling, "pretraining length": epoch,
            "ImageNet accuracy": 0.001 + 0.07 * index + 0.001 * (scheme == "simple" and index > 0),
            "freeze encoder": frozen, "pretraining scheme": scheme, "seed": seed, "accuracy": 0.99 + noise[0],
        }  # fmt: skip
        names = ("balanced accuracy", "sensitivity", "specificity", "precision")
        line |= {name: np.nan if several else dice - 0.01 * i - noise[i] for i, name in enumerate(names, 1)}
        line |= {"dice index": np.nan if several else dice, "jaccard index": np.nan if several else jaccard}
        line |= {"mcc": np.nan if several else dice - 0.1 - noise[5], "modified hausdorff distance": 40 * (1 - dice) + noise[6]}
        line |= {"area under roc": 0.9 + dice / 20, "average precision score": dice + 0.02}
        return line | {"mean dice index": dice if several else np.nan, "mean jaccard index": jaccard if several else np.nan}

    def course(self, index: int) -> float:
        """Return the height, in [0, 1], of the index-th length on a course that resembles no rotation of itself."""
        peak = 0.6 * (len(self.lengths) - 1)
        return 1 - ((index - peak) / len(self.lengths)) ** 2 - 0.1 * (index % 3 == 1)

    def robustness(self) -> pd.DataFrame:
        """Make the scores from pairs of 16 images, so that they obey every law of losses."""
        generator = np.random.default_rng(2)
        lines = []
        for encoder, target, scheme, distance in product(self.encoders, TARGETS, SCHEMES, DISTANCES):
            spelling, levels = ENCODERS[encoder]
            for level, pooled, (index, epoch) in product(
                range(1, min(levels, self.levels) + 1), (False, True), enumerate(self.lengths)
            ):
                apart = TARGETS[target][3] + 0.02 * self.course(index) + 0.005 * level + 0.01 * pooled
                gaps = np.linspace(-0.3, 0.3, 16) + 1e-4 * generator.random(16) - apart
                lines += [
                    (TARGETS[target][1], distance, margin, spelling, f"{scheme}_training", pooled, level, epoch,
                     float(np.maximum(0, gaps + margin).mean()))
                    for margin in self.margins
                ]  # fmt: skip
        columns = ["dataset", "metric", "margin", "encoder", "pretraining_scheme", "pooled", "level", "pretraining_length",
                   "robustness"]  # fmt: skip
        return pd.DataFrame(lines, columns=columns)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both files; return their paths."""
        paths = folder / "downstream_scores.csv", folder / "robustness_scores.csv"
        self.downstream().to_csv(paths[0], index=False)
        self.robustness().to_csv(paths[1], index=False)
        return paths


@pytest.fixture(scope="session")
def released_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write files with every encoder, scheme, target, length, seed, distance, margin and level, without a fault."""
    return Results().write(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def few_tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read small files without a fault; tests must copy the tables before they change them."""
    results = Results(("unet", "swin"), lengths=(0, 1, 5, 20, 50, 100), seeds=SEEDS[:3], margins=MARGINS[1:4], levels=2)
    downstream, robustness = results.write(tmp_path_factory.mktemp("few"))
    return read_downstream(downstream), read_robustness(robustness)


SAMPLING = Sampling(draws=200, confidence=0.95, seed=0, margin=0.01, least=0.1)


@pytest.fixture(scope="session")
def make_analysis() -> Callable[..., Analysis]:
    """Return a maker of analyses of configurations on one target, each of a pretraining of its own, with epochs 0, 1 and 300.

    Robustness chooses epoch 1, and epoch 300 in the first `rising` configurations, in which it keeps rising.
    """

    def make(gains: Sequence[float], spread: float = 1e-4, rising: int = 0) -> Analysis:
        return analyse([_pool(number, gain, spread, number < rising) for number, gain in enumerate(gains)], (), SAMPLING)

    return make


def _pool(number: int, gain: float, spread: float, rising: bool) -> Pool:
    """Make a pool in which epoch 1 has this much more TIS than epoch 300, over five seeds of the given spread."""
    means = {0: 0.3, 1: 0.8 * (1 - max(0, -gain)), 300: 0.8 * (1 - max(0, gain))}
    fields = {
        "source": "imagenet",
        "origin": SCHEMES[number % 2],
        "encoder": tuple(MODELS)[number // 2],
        "target": "acdc",
        "mode": "full",
    }
    steps = dict(zip(SEEDS, np.array([-1, 0, 1, -1, 1]) * spread, strict=True))
    dice = {(epoch, seed): mean + step * (-1) ** epoch for epoch, mean in means.items() for seed, step in steps.items()}
    scores = {"robustness": {0: 0.1, 1: 0.5, 300: 0.6 if rising else 0.4}}
    return Pool(
        fields,
        {"pretraining": f"p{number}", "data": "d", "protocol": "p"},
        dice,
        scores,
        (0, 1, 300),
        TASKS["segmentation"].primary,
    )


FEW = Results(lengths=(0, 1, 300), seeds=SEEDS[:2], margins=MARGINS[1:4], levels=2)
REPORT = Report(out="reports", reference=None, **asdict(SAMPLING))


def replay(downstream: Path, robustness: Path, out: str = "replay") -> str:
    """Replay two files in the working folder."""
    section = Replay(out=out, paper="hidy", downstream=str(downstream), robustness=str(robustness))
    return run(section, read_files(downstream, robustness), REPORT, eta=3).texts[0]


@pytest.fixture(scope="session")
def replayed_folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Replay small files once; the tests work on copies of the store and of the folder `replay`."""
    folder = tmp_path_factory.mktemp("replayed")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        replay(*FEW.write(folder))
    return folder


@pytest.fixture(scope="module")
def replayed(replayed_folder: Path, shared_workplace: Path) -> tuple[Path, Path]:
    """Work in a folder with the replayed store and results that the tests of a module share; return the replayed files."""
    shutil.copy(replayed_folder / "mlflow.db", shared_workplace / "mlflow.db")
    shutil.copytree(replayed_folder / "replay", shared_workplace / "replay")
    return replayed_folder / "downstream_scores.csv", replayed_folder / "robustness_scores.csv"


@pytest.fixture(scope="session")
def published() -> tuple[Path, Path]:
    """Return the files that the paper's authors released; without them the test is reported as skipped by name."""
    folder = os.environ.get("MEDTRANSFER_PUBLISHED")
    if not folder:
        pytest.skip("MEDTRANSFER_PUBLISHED names no folder of the released result files")
    return Path(folder) / "downstream_scores.csv", Path(folder) / "robustness_scores.csv"
