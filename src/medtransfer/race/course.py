"""The fine-tunings of a race: those of each rung, and the test of the winner, on workers of a launcher."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.analysis.halving import Rung, cost_of
from medtransfer.config import Params
from medtransfer.race.entrants import Entrant
from medtransfer.tasks.contract import Metric
from medtransfer.tasks.results import read_result
from medtransfer.tryouts.scores import Scores, read_scores
from medtransfer.tryouts.training import Training, Tryouts
from medtransfer.tryouts.validation import one_portion
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")


class Course:
    """Runs the fine-tunings of a race; finished ones are reused."""

    def __init__(self, params: Params, target: str, entrants: Sequence[Entrant], plan: Sequence[Rung], held: float) -> None:
        """Plan the fine-tunings.

        Args:
            params: params, whose section `finetune` is the recipe.
            target: name of the target.
            entrants: who takes part.
            plan: the rungs.
            held: fraction of the training groups that are held out; 0 for a target with validation samples.
        """
        self.params, self.target, self.entrants, self.plan, self.held = params, target, entrants, plan, held
        self.portion = one_portion(params)
        self.seeds = [params.finetune.seed + number for number in range(params.race.seeds)]
        self.out, self.spent = Path(params.race.out), 0
        section, jobs = params.race, self._rung(range(len(entrants)), plan[0].epochs)
        epochs = len(self.seeds) * cost_of(plan)
        self.tryouts = Tryouts(params, "race", section.launcher, section.workers, jobs, self.out / "logs", epochs)

    def measure(self, indices: Sequence[int], epochs: int) -> Scores:
        """Fine-tune entrants by a schedule of a rung, and return their validation scores."""
        jobs = self._rung(indices, epochs)
        later = [rung for rung in self.plan if rung.epochs > epochs]
        left = len(jobs) * epochs + len(self.seeds) * (cost_of(later) if later else 0)
        rung = f"{counted(len(indices), 'candidate')} x {counted(epochs, 'epoch')}"
        log.info("race: %s; %s left, this rung included", rung, counted(left, "epoch"))
        self.tryouts.progress.tally.expect(self.spent + left)
        self._train(jobs)
        self.spent += len(jobs) * epochs
        folders, seeds = [job.folder for job in jobs], len(self.seeds)
        return read_scores([folders[first : first + seeds] for first in range(0, len(folders), seeds)]).mean_over_seeds()

    def test(self, winner: int, metric: Metric) -> float:
        """Test the models of the winner, which are those of the last rung; return their mean metric."""
        jobs = self._tests(winner)
        self.tryouts.progress.counts = False
        self._train(jobs)
        results = [read_result(job.folder / "metrics.json").metrics[metric.name] for job in jobs]
        return sum(results) / len(results)

    def models(self, winner: int) -> list[Path]:
        """Return the folders of the winner's models, one per seed, for `predict`."""
        return [job.folder for job in self._tests(winner)]

    def close(self) -> None:
        """Stop the workers."""
        self.tryouts.close()

    def _tests(self, winner: int) -> list[Training]:
        values = {"out": str(self.out / "winner"), "keep": "weights", "evaluate": "test"}
        return self._jobs([winner], self.plan[-1].epochs, overlays=self.params.finetune.overlays, **values)

    def _rung(self, indices: Sequence[int], epochs: int) -> list[Training]:
        keep = "weights" if epochs == self.plan[-1].epochs else "metrics"  # only a model of the last rung may be tested
        out = str(self.out / "rungs" / f"{epochs:03d}-epochs")
        return self._jobs(indices, epochs, overlays=0, out=out, keep=keep, evaluate="validation")

    def _jobs(self, indices: Sequence[int], epochs: int, **values: Any) -> list[Training]:
        changed, mode = tuple({"validation": self.held, **values}.items()), self.params.finetune.mode
        return [
            Training(self.entrants[index].cell(self.target, mode, seed, self.portion), epochs, changed)
            for index in indices for seed in self.seeds
        ]  # fmt: skip

    def _train(self, jobs: Sequence[Training]) -> None:
        self.tryouts.train(jobs, "correct this, or leave the candidate out with --candidates")
