"""Four workers on one PostgreSQL store, one of which is killed: every cell is done once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtransfer.config import Params

pytestmark = pytest.mark.slow
WORKERS = 4


def test_jobs_of_a_killed_worker_are_retried(
    postgresql: Callable[[], str], study: Callable[..., Params], command: Callable[..., Any],
    assert_each_once: Callable[[], None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql())
    study({"grid.workers": WORKERS})
    grid = command()
    grid.wait_for_cells(2)
    victims = grid.workers()
    assert len(victims) == WORKERS
    os.kill(victims[1], signal.SIGKILL)
    output = grid.end()
    assert f"8 cells and 3 other jobs on {WORKERS} local workers" in output
    assert "8 cells done, 0 failed, 0 remaining" in output
    assert_each_once()
    assert not Path("mlruns").exists()
