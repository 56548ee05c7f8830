"""What a job takes of a Ray cluster, on fake clusters of hosts with cores and GPUs."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid import cluster
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.jobs import plan
from medtransfer.launchers import find_launch
from medtransfer.records import CellName


class Ray:
    """A fake Ray that records what tasks ask for."""

    def __init__(self, hosts: list[dict[str, float]]) -> None:
        self.hosts, self.asked, self.stopped = hosts, dict[str, tuple[float, float]](), False

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: Any) -> None: ...

    def shutdown(self) -> None:
        self.stopped = True

    def cluster_resources(self) -> dict[str, float]:
        return {kind: sum(host.get(kind, 0) for host in self.hosts) for kind in ("CPU", "GPU") if kind in self.hosts[0]}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": host} for host in self.hosts]

    def put(self, value: object) -> object:
        return "shared"

    def remote(self, **_: Any) -> Callable[[object], Any]:
        def options(name: str, num_cpus: float, num_gpus: float) -> Any:
            self.asked[name] = (num_cpus, num_gpus)
            return SimpleNamespace(remote=lambda *_: name)

        return lambda function: SimpleNamespace(options=options)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, workplace: object) -> Callable[..., dict[str, tuple[float, float]]]:
    """Function that submits all jobs to a fake cluster; returns the cores and GPUs of each."""

    def submit(params: Params, *hosts: dict[str, float]) -> dict[str, tuple[float, float]]:
        ray = Ray(list(hosts))
        monkeypatch.setattr(cluster, "_ray", lambda: ray)
        jobs = plan(params)
        try:
            launcher = RayLauncher(params, jobs)
        except InputError:
            assert ray.stopped
            raise
        for job in jobs:
            launcher.submit(job)
        return ray.asked

    return submit


EIGHT = {"CPU": 64.0, "GPU": 8.0}
IMPORTED = {
    "kind": "file",
    "weights": {90: "a"},
    "epoch": None,
    "source": "s",
    "pickle": False,
    "allow_partial": False,
    "prefix": None,
    "input": None,
}
ON_GPUS = {f"{stage}.accelerator": "auto" for stage in ("pretrain", "score", "finetune")}


def test_each_kind_of_job_takes_what_it_needs(asked: Callable, tiny_params: Callable[..., Params]) -> None:
    """configs/paper.yaml pretrains on eight devices, and fine-tunes on one."""
    overrides = {**ON_GPUS, "pretrain.devices": 8, "grid.gpus": 0.5, "grid.cpus": 2.0, "pretrain.origins.imported": IMPORTED}
    shares = asked(tiny_params({**overrides, "study.origins": ["simple", "imported"]}), EIGHT, {"CPU": 8.0})
    cell = CellName("sample", "unet", "simple", 2, "decoder", 8).name
    assert shares["pretrain unet-simple"] == (16, 8)
    assert shares["score sample-unet-simple"] == shares[f"finetune {cell}"] == (2, 0.5)
    assert shares["prepare sample"] == (2, 0)
    assert shares["pretrain unet-imported"] == (2, 0)


@pytest.mark.parametrize(("overrides", "hosts"), [(ON_GPUS, [{"CPU": 8.0}]), ({}, [EIGHT])], ids=["no GPUs", "accelerator: cpu"])
def test_cpus_do_where_there_are_no_gpus_or_none_are_wanted(
    overrides: dict[str, Any], hosts: list[dict[str, float]], asked: Callable, tiny_params: Callable[..., Params]
) -> None:
    shares = asked(tiny_params({**overrides, "pretrain.devices": 2}), *hosts)
    assert shares.pop("pretrain unet-simple") == (2, 0)
    assert set(shares.values()) == {(1, 0)}


@pytest.mark.parametrize(
    ("overrides", "hosts", "message"),
    [
        (
            {"pretrain.devices": 8},
            [{"CPU": 32.0, "GPU": 4.0}] * 2,  # eight GPUs in all, but a pretraining is on one host
            "a host with 8 cores and 8 GPUs for pretrain unet-simple, but the cluster's have 32 and 4; start Ray",
        ),
        ({"grid.cpus": 4.0}, [{"CPU": 2.0}], "a host with 4 cores and 0 GPUs for prepare sample, but the cluster's have 2 and 0"),
    ],
)
def test_a_job_without_room_is_an_error_at_the_start(
    overrides: dict[str, Any], hosts: list[dict[str, float]], message: str, asked: Callable, tiny_params: Callable[..., Params]
) -> None:
    """Ray would let it wait forever."""
    with pytest.raises(InputError, match=message):
        asked(tiny_params({**ON_GPUS, **overrides}), *hosts)


def test_a_task_is_no_task_of_the_srun_that_started_ray(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, tiny_params: Callable[..., Params]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(cluster, "attempt", lambda *_: find_launch())
    job = plan(tiny_params())[0]
    assert cluster.run_remote((tiny_params(), {}), job, str(tmp_path)) is None
