"""What a job takes of a Ray cluster, on fake clusters of hosts with cores and GPUs."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid import cluster
from medtransfer.grid.cluster import RayLauncher
from medtransfer.grid.jobs import plan
from medtransfer.grid.resources import Machine, share_of
from medtransfer.launchers import find_launch
from medtransfer.records import CellName


class Ray:
    """A fake Ray that records what tasks ask for."""

    def __init__(self, hosts: list[dict[str, float]]) -> None:
        self.hosts, self.asked, self.stopped = hosts, dict[str, tuple[float, ...]](), False

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
        def options(name: str, num_cpus: float, num_gpus: float, **memory: float) -> Any:
            self.asked[name] = (num_cpus, num_gpus, *memory.values())
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
            "a host with 8 cores and 8 GPUs for pretrain unet-simple, but the cluster's have 32 cores and 4 GPUs; start Ray",
        ),
        (
            {"grid.cpus": 4.0},
            [{"CPU": 2.0}],
            "a host with 4 cores and 0 GPUs for prepare sample, but the cluster's have 2 cores and 0",
        ),
    ],
)
def test_a_job_without_room_is_an_error_at_the_start(
    overrides: dict[str, Any], hosts: list[dict[str, float]], message: str, asked: Callable, tiny_params: Callable[..., Params]
) -> None:
    """Ray would let it wait forever."""
    with pytest.raises(InputError, match=message):
        asked(tiny_params({**ON_GPUS, **overrides}), *hosts)


RESOURCES = {"pretrain": {"cpus": 8, "memory_gb": 32}, "score": {"gpus": 0.25}, "finetune": {"gpus": 0.5, "memory_gb": 4}}


def test_resources_by_kind_of_job(asked: Callable, tiny_params: Callable[..., Params]) -> None:
    shares = asked(tiny_params({**ON_GPUS, "grid.resources": RESOURCES}), {**EIGHT, "memory": 64e9})
    cell = CellName("sample", "unet", "simple", 2, "decoder", 8).name
    assert shares["pretrain unet-simple"] == (8, 1, 32e9) and shares["score sample-unet-simple"] == (1, 0.25)
    assert shares[f"finetune {cell}"] == (1, 0.5, 4e9) and shares["prepare sample"] == (1, 0)
    with pytest.raises(InputError, match="8 cores, 1 GPUs and 32 GB for pretrain .* lower grid.resources.pretrain.cpus, "):
        asked(tiny_params({**ON_GPUS, "grid.resources": RESOURCES}), {**EIGHT, "memory": 16e9})


def test_local_jobs_start_where_there_is_room(tiny_params: Callable[..., Params]) -> None:
    """Two GPUs, 12 cores and 40 GB: a pretraining takes one GPU and 32 GB, so one fine-tuning of 4 GB and scores fit beside it."""
    params = tiny_params({**ON_GPUS, "grid.resources": RESOURCES})
    jobs = {job.kind: job for job in plan(params)}
    machine = Machine(12, 40, ["0", "1"])
    shares = {kind: share_of(params, job, True) for kind, job in jobs.items()}
    assert {kind: machine.at_once(share) for kind, share in shares.items()} == {
        "prepare": 12,
        "pretrain": 1,
        "score": 8,
        "finetune": 4,
    }
    placed = []
    for kind in ("pretrain", "pretrain", "finetune", "score", "finetune", "score", "finetune", "score", "score"):
        gpus = machine.place(shares[kind])
        placed.append(gpus)
        if gpus is not None:
            machine.taken.append((shares[kind], gpus))
    no = None  # a second pretraining lacks memory, a second fine-tuning too after the scores, and the last score a GPU
    assert placed == [("0",), no, ("1",), ("1",), no, ("1",), no, no, no]
    assert machine.place(shares["prepare"]) == ()


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"pretrain": {"cpus": 80}}, "expected grid.resources.pretrain.cpus for pretrain unet-simple to fit the 12 cores"),
        ({"finetune": {"gpus": 3}}, "expected grid.resources.finetune.gpus for finetune .* the 2 GPUs .* takes 3; lower it"),
        ({"score": {"memory_gb": 99}}, "expected grid.resources.score.memory_gb for score .* to fit the 40 GB of memory of this"),
    ],
)  # fmt: skip
def test_what_never_fits_is_refused(resources: dict[str, Any], message: str, tiny_params: Callable[..., Params]) -> None:
    params = tiny_params({**ON_GPUS, "grid.resources": resources})
    with pytest.raises(InputError, match=message):
        Machine(12, 40, ["0", "1"]).check(params, plan(params))


def test_a_task_is_no_task_of_the_srun_that_started_ray(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, tiny_params: Callable[..., Params]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(cluster, "attempt", lambda *_: find_launch())
    job = plan(tiny_params())[0]
    assert cluster.run_remote((tiny_params(), {}), job, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("address", "variables", "written", "mode"),
    [
        ("auto", {}, True, "token"), ("auto", {}, False, None), (None, {}, True, None),
        ("auto", {"RAY_AUTH_TOKEN": "secret"}, False, "token"), ("auto", {"RAY_AUTH_MODE": "disabled"}, True, "disabled"),
    ],
)  # fmt: skip
def test_the_token_of_a_cluster_is_sent(
    address: str | None, variables: dict[str, str], written: bool, mode: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A running cluster of Ray 2.60 refuses a driver without it; see https://docs.ray.io/en/latest/ray-security/token-auth.html."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    if written:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    cluster._use_token(address)
    assert os.environ.get("RAY_AUTH_MODE") == mode
