"""The callback for Lightning in real trainings of two epochs and more: stopped, resumed, and left as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from medtransfer.errors import InputError
from medtransfer.integrations.lightning import TransferabilityStopping

SCORES = {1: 0.2, 2: 0.5, 3: 0.4, 4: 0.9}  # by epoch: falls at the third


class Classifier(LightningModule):
    """A linear classifier with dropout, whose frozen part stays in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5))
        self.head, self.frozen = torch.nn.Linear(8, 2), torch.nn.Dropout()
        self.frozen.eval()

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.head(self.encoder(batch[0])), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def train(
    folder: Path, stopping: TransferabilityStopping | None, epochs: int, resume: Path | None = None
) -> tuple[Trainer, Classifier]:
    seed_everything(1)
    model = Classifier()
    images = TensorDataset(torch.randn(8, 4), torch.randint(0, 2, (8,)))
    kept = ModelCheckpoint(folder, save_top_k=-1, filename="{epoch}")
    trainer = Trainer(
        max_epochs=epochs, callbacks=[kept, *([stopping] if stopping else [])], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader(images, batch_size=4), ckpt_path=resume, weights_only=False)
    return trainer, model


def scored(seen: list[int]) -> Callable[[LightningModule], float]:
    """Return a score that is given by epoch, and lists the epochs that it was asked for."""

    def score(model: LightningModule) -> float:
        assert not model.training and not torch.is_grad_enabled()
        torch.rand(3)  # must not change the training's random numbers
        seen.append(model.trainer.current_epoch + 1)
        return SCORES[seen[-1]]

    return score


def test_a_training_of_two_epochs_is_scored_and_not_changed(tmp_path: Path) -> None:
    stopping = TransferabilityStopping(scored(seen := []), "keep-stop")
    trainer, watched = train(tmp_path / "a", stopping, 2)
    _, alone = train(tmp_path / "b", None, 2)
    assert (seen, stopping.choice, stopping.rule.stopped_at, trainer.current_epoch) == ([1, 2], 2, None, 2)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))
    assert watched.encoder.training == alone.encoder.training and not watched.frozen.training


def test_the_rule_stops_the_training(tmp_path: Path) -> None:
    stopping = TransferabilityStopping(scored(seen := []), "first-drop")
    trainer, _ = train(tmp_path, stopping, 4)
    assert (seen, stopping.choice, stopping.rule.stopped_at, trainer.current_epoch) == ([1, 2, 3], 2, 3, 3)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_resumed_training_stops_at_the_same_epoch(tmp_path: Path, at: int) -> None:
    """Also one that had stopped: it trains no further."""
    first = TransferabilityStopping(scored([]), "keep-stop")
    train(tmp_path, first, at)
    again = TransferabilityStopping(scored(seen := []), "keep-stop")
    trainer, _ = train(tmp_path, again, 4, tmp_path / f"epoch={at - 1}.ckpt")
    assert (seen, again.choice, again.rule.stopped_at) == (list(range(at + 1, 4)), 3, 3)
    assert trainer.current_epoch == 3


def test_scores_at_given_epochs_with_errors_and_lower_ones_better(tmp_path: Path) -> None:
    values = iter([{"value": 0.5, "error": 0.01}, {"value": 0.495, "error": 0.01}])
    stopping = TransferabilityStopping(lambda model: next(values), "least-rise-1", epochs=[1, 3], higher_is_better=False)
    trainer, _ = train(tmp_path, stopping, 4)
    assert (list(stopping.rule.seen), stopping.rule.stopped_at, stopping.choice, trainer.current_epoch) == ([1, 3], 3, 3, 3)


def test_epochs_that_cannot_be_are_refused() -> None:
    for epochs in ([0, 1], [1.5], ["1"], [], 5):
        with pytest.raises(InputError, match="epochs as whole numbers of at least 1 to score at, but got"):
            TransferabilityStopping(lambda model: 0.0, epochs=epochs)
    keys = {TransferabilityStopping(lambda model: 0.0, rule).state_key for rule in ("keep-stop", "patience-2")}
    assert len(keys) == 2
