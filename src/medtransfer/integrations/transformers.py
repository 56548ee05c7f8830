"""Callback for the Trainer of Hugging Face that stops a training by a score of the model: pip install medtransfer[transformers]."""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from torch import nn

try:
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "expected transformers and accelerate, but they are not installed; run pip install 'medtransfer[transformers]'"
    ) from error

from medtransfer.integrations.watch import Watch
from medtransfer.selectors.rules import Seen

KEY = "transferability"


class TransferabilityStopping(TrainerCallback):
    """Stops by a stopping rule on a score of the model, and remembers which epoch the rule keeps.

    ```python
    stopping = TransferabilityStopping(lambda model: robustness(model.vit, images), "keep-stop")
    Trainer(model, TrainingArguments(out, save_strategy="epoch"), train_dataset=data, callbacks=[stopping]).train()
    print(stopping.choice)
    ```

    Epochs count from 1. The observations are entries of the trainer's log history, `transferability`, which is part of its
    checkpoints: a training resumed with `resume_from_checkpoint` stops where one without interruption does. One that had
    stopped already takes a single step before it stops again. In a training on several devices each of them computes the
    score, and that of the first one decides.
    """

    def __init__(
        self, score: Callable[[nn.Module], Seen], rule: str = "keep-stop", *, epochs: Collection[int] | None = None,
        higher_is_better: bool = True,
    ) -> None:  # fmt: skip
        """Start before the first epoch; arguments and errors as for `Watch`."""
        self._watch = Watch(score, rule, epochs, higher_is_better)
        self.rule = self._watch.rule

    @property
    def choice(self) -> int:
        """Epoch to keep."""
        return self.rule.choice

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Restore what the rule observed before the checkpoint that the training resumes from, or start without."""
        seen = [[round(entry["epoch"]), entry[KEY]] for entry in state.log_history if KEY in entry]
        self.rule.load_state_dict({"seen": seen, "none_is_best": False})
        control.should_training_stop = self.rule.stopped_at is not None

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Score the model where it is due, and stop if the rule says so."""
        epoch = round(state.epoch or 0)
        if epoch != state.epoch or not self._watch.due(epoch):  # an epoch that ends early is none
            return
        (seen,) = broadcast_object_list([self._watch.measure(kwargs["model"])])
        control.should_training_stop |= self.rule.update(epoch, seen)
        entry: dict[str, Any] = {"epoch": epoch, "step": state.global_step, KEY: asdict(self.rule.seen[epoch])}
        state.log_history.append(entry)
