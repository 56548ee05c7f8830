"""Callback for Lightning that stops a training by a score of the current model: pip install medtransfer[lightning]."""

from collections.abc import Callable, Collection
from typing import Any

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("expected Lightning, but it is not installed; run pip install 'medtransfer[lightning]'") from error

from medtransfer.integrations.watch import Watch
from medtransfer.selectors.rules import Seen


class TransferabilityStopping(Callback):
    """Stops by a stopping rule on a score of the model, and remembers which epoch the rule keeps.

    ```python
    stopping = TransferabilityStopping(lambda model: robustness(model.encoder, images), "keep-stop", epochs=[1, 5, 20, 50])
    Trainer(callbacks=[stopping, ModelCheckpoint(save_top_k=-1)], max_epochs=50).fit(model, data)
    print(stopping.choice)
    ```

    Epochs count from 1, so `choice` 5 is the model after five epochs, which Lightning's files call `epoch=4`. In a training
    on several devices each of them computes the score, and that of the first one decides. The state is part of Lightning's
    checkpoints, and a resumed training stops where one without interruption does.
    """

    def __init__(
        self, score: Callable[[LightningModule], Seen], rule: str = "keep-stop", *, epochs: Collection[int] | None = None,
        higher_is_better: bool = True,
    ) -> None:  # fmt: skip
        """Start before the first epoch; arguments and errors as for `Watch`."""
        super().__init__()
        self._watch = Watch(score, rule, epochs, higher_is_better)
        self.rule = self._watch.rule

    @property
    def choice(self) -> int:
        """Epoch to keep."""
        return self.rule.choice

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint; callbacks of different rules have different ones."""
        return self._generate_state_key(rule=self.rule.name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a resumed training that the rule had stopped."""
        if self.rule.stopped_at is not None:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the model where it is due, and stop if the rule says so."""
        epoch = trainer.current_epoch + 1
        if not self._watch.due(epoch):
            return
        seen = trainer.strategy.broadcast(self._watch.measure(pl_module))
        if self.rule.update(epoch, seen):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule observed."""
        return self.rule.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what the rule observed."""
        self.rule.load_state_dict(state_dict)
