"""A prediction that cannot be published is refused before it is made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from medtransfer.errors import InputError


def test_a_store_that_cannot_be_written_to_is_named_before_the_work(
    tmp_path: Path, make_model: Callable[..., Path], predict: Callable[..., str], bright: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "new").mkdir()
    Image.fromarray(np.eye(32, dtype=np.uint8) * 200).save(tmp_path / "new" / "a.png")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlflow.db")
    with pytest.raises(InputError, match="expected a tracking store at sqlite:////proc/nowhere/mlflow.db, but it does not answer"):
        predict([make_model()], tmp_path / "new")
    assert not bright and not list(tmp_path.rglob("masks/*"))
