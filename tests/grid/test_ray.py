"""A study on a Ray cluster of two hosts, stopped once, and one of which dies: every cell is done once."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid.cluster import NICENESS, RayLauncher
from medtransfer.grid.stage import run

pytestmark = pytest.mark.slow
# A host is dead once it has failed to answer five times in a row; usually Ray asks every three seconds.
DEATH = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 5}


@pytest.fixture(autouse=True)
def _without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever `ray start` has left in the home folder


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a cluster of two hosts of one core each; the first is its head."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    head = {"num_cpus": 1, "include_dashboard": False, "no_monitor": True, "include_log_monitor": False, "_system_config": DEATH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.other = cluster.add_node(num_cpus=1, include_log_monitor=False)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_a_stopped_grid_is_resumed_and_jobs_of_a_dead_host_are_retried(
    cluster: Any, study: Callable[..., Params], command: Callable[..., Any], assert_each_once: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    study()
    grid = command("--launcher", "ray", "--address", cluster.address)
    grid.wait_for_cells(1)
    grid.process.send_signal(signal.SIGTERM)
    assert grid.end(143).endswith("stopped; what is finished is kept: run the same command again to resume\n")
    grid = command("--launcher", "ray", "--address", cluster.address)
    grid.wait_for_cells(3)
    cluster.remove_node(cluster.other, allow_graceful=False)
    output = grid.end()
    assert "8 cells and 3 other jobs on 2 ray workers" in output
    assert "8 cells done, 0 failed, 0 remaining" in output
    assert_each_once()
    (run_of_grid,) = tracking.read_runs("grid", status="FINISHED")
    assert len(tracking.read_runs("grid", status="KILLED")) == 1
    assert (run_of_grid.metrics["cells_done"], run_of_grid.metrics["cells_remaining"]) == (8, 0)


@pytest.mark.parametrize("niceness", [None, "10"])
@pytest.mark.parametrize(
    ("address", "variable", "joined"),
    [(None, None, "local"), (None, "local", "local"), (None, "10.0.0.1:6379", "10.0.0.1:6379"), ("auto", "10.0.0.1:6379", "auto")],
)
def test_which_cluster_is_joined(
    address: str | None, variable: str | None, joined: str, niceness: str | None, study: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Without an address Ray itself would join the cluster that was started last on this machine, or start one at nice 15."""
    asked: list[tuple[str, str | None]] = []

    def init(address: str, **_: object) -> None:
        asked.append((address, os.environ.get(NICENESS)))
        raise ConnectionError("stopped")

    monkeypatch.setattr("medtransfer.grid.cluster._ray", lambda: SimpleNamespace(is_initialized=lambda: False, init=init))
    monkeypatch.setattr("medtransfer.grid.cluster._check_reachable", lambda _: None)
    for name, value in (("RAY_ADDRESS", variable), (NICENESS, niceness)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="stopped"):
        RayLauncher(study({"grid.address": address}), [])
    assert asked == [(joined, niceness or ("0" if joined == "local" else None))]


def test_a_missing_cluster_is_named(study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(InputError, match="expected a Ray cluster at 127.0.0.1:1, but there is none .*ray start --head"):
        run(study({"grid.launcher": "ray", "grid.address": "127.0.0.1:1"}))
    assert tracking.read_runs("grid", status="RUNNING") == []
