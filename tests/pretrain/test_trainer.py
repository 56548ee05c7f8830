"""A loss or weights that go bad stop a pretraining at that step; checkpoints and state from before stay and are gone on from."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import StageError
from medtransfer.pretrain import loop
from medtransfer.records import list_checkpoints
from medtransfer.training.state import read_progress

FOLDER, STATE = Path("checkpoints/unet-simple"), Path("checkpoints/unet-simple/.resume.safetensors")
STEPS = 3  # an epoch: 50 pictures in batches of 16


def weights(folder: Path = FOLDER) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


def gone_bad(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the loss of one step, counted from 1, be infinite."""
    seen = list[int]()

    def loss(logits: Tensor, targets: Tensor, **chosen: Any) -> Tensor:
        seen.append(1)
        return cross_entropy(logits, targets, **chosen) * (math.inf if len(seen) == step else 1)

    patch.setattr(loop, "cross_entropy", loss)


def poisoned(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the weights be not a number after one step, though its loss was finite."""
    seen, original = list[int](), torch.optim.AdamW.step

    def do(self: torch.optim.AdamW, *arguments: Any, **chosen: Any) -> None:
        original(self, *arguments, **chosen)
        seen.append(1)
        if len(seen) == step:
            self.param_groups[0]["params"][-1].data[0] = math.nan

    patch.setattr(torch.optim.AdamW, "step", do)


@pytest.fixture(scope="module")
def whole(shared_workplace: Path, tiny_params: Callable[..., Params]) -> dict[int, str]:
    """Return the weights of an undisturbed pretraining."""
    return weights(study.pretrain(tiny_params()))


@pytest.mark.parametrize(
    ("spoil", "step", "what"),
    [
        (gone_bad, 2 * STEPS + 2, "the training loss is inf at optimiser step 8 (epoch 3, "),
        (poisoned, 3 * STEPS, "the weight head.bias is not finite, though the training loss was "),
    ],
)
def test_the_next_run_resumes_from_before_the_fault(whole, workplace, tiny_params, spoil, step, what):
    good = f"checkpoint is that of epoch 2, {FOLDER / 'epoch-002.json'}, and the last good state that of epoch 2, {STATE}; lower "
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StageError, match=f"{re.escape(what)}.*{re.escape(good)}"):
        spoil(patch, step)
        study.pretrain(tiny_params())
    assert set(weights()) == {0, 1, 2}
    assert (read_progress(STATE) or {})["epoch"] == 2
    assert [len(tracking.read_runs("pretrain", status=status)) for status in ("FINISHED", "FAILED")] == [0, 1]
    study.pretrain(tiny_params())
    assert weights() == whole
    assert not STATE.exists()
