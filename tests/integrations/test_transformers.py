"""The callback for the Trainer of Hugging Face in real trainings of two epochs and more: stopped and resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from medtransfer.integrations.transformers import KEY, TransferabilityStopping

pytestmark = pytest.mark.long

SCORES = [0.2, 0.5, 0.4, 0.9]  # falls at the third epoch


class Classifier(nn.Module):
    """A linear classifier with dropout, in the form that the Trainer takes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5)), nn.Linear(8, 2)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.encoder(pixel_values))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def train(
    folder: Path, stopping: TransferabilityStopping | None, epochs: int, resume: Path | None = None, **options: Any
) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    data = [{"pixel_values": torch.randn(4, generator=generator), "labels": number % 2} for number in range(8)]
    torch.manual_seed(0)
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=epochs, per_device_train_batch_size=4, save_strategy="epoch", report_to=[],
        use_cpu=True, disable_tqdm=True, seed=0, **options,
    )  # fmt: skip
    trainer = Trainer(Classifier(), arguments, train_dataset=data, callbacks=[stopping] if stopping else [])
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer


def callback(scores: list[float], rule: str = "keep-stop", **options: Any) -> TransferabilityStopping:
    left = iter(scores)

    def score(model: nn.Module) -> float:
        assert not model.training and not torch.is_grad_enabled()
        torch.rand(3)  # must not change the training's random numbers
        return next(left)

    return TransferabilityStopping(score, rule, **options)


def test_a_training_of_two_epochs_is_scored_and_not_changed(tmp_path: Path) -> None:
    stopping = callback(SCORES)
    watched, alone = train(tmp_path / "a", stopping, 2), train(tmp_path / "b", None, 2)
    assert (list(stopping.rule.seen), stopping.choice, stopping.rule.stopped_at) == ([1, 2], 2, None)
    assert [entry[KEY]["value"] for entry in watched.state.log_history if KEY in entry] == SCORES[:2]
    assert all(torch.equal(a, b) for a, b in zip(watched.model.parameters(), alone.model.parameters(), strict=True))


def test_the_rule_stops_the_training(tmp_path: Path) -> None:
    stopping = callback(SCORES, "first-drop")
    trainer = train(tmp_path, stopping, 4)
    assert (stopping.choice, stopping.rule.stopped_at, trainer.state.epoch) == (2, 3, 3)


@pytest.mark.parametrize("restores", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_a_resumed_training_stops_at_the_same_epoch(tmp_path: Path, at: int, restores: bool) -> None:
    train(tmp_path, callback(SCORES), at)
    again = callback(SCORES[at:])
    trainer = train(tmp_path, again, 4, tmp_path / f"checkpoint-{2 * at}", restore_callback_states_from_checkpoint=restores)
    assert (list(again.rule.seen), again.choice, again.rule.stopped_at, trainer.state.epoch) == ([1, 2, 3], 3, 3, 3)


def test_a_training_that_had_stopped_stops_again_without_a_score(tmp_path: Path) -> None:
    train(tmp_path, callback(SCORES), 4)
    again = callback([])
    trainer = train(tmp_path, again, 4, tmp_path / "checkpoint-6")
    assert (again.choice, again.rule.stopped_at, trainer.state.global_step) == (3, 3, 7)


def test_scores_at_given_epochs_and_not_where_an_epoch_ends_early(tmp_path: Path) -> None:
    stopping = callback(SCORES, epochs=[2, 3])
    trainer = train(tmp_path, stopping, 4, max_steps=5)  # two and a half epochs
    assert (list(stopping.rule.seen), trainer.state.global_step) == ([2], 5)
