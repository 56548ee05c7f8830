"""Jobs go in; a Ray cluster does them, each as a task with its share of CPUs and GPUs, and their outcomes come out.

All hosts see the working folder under the same path (a shared file system) and reach the same tracking store.
"""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtransfer.config import Params
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError
from medtransfer.grid.jobs import Job
from medtransfer.grid.worker import FAILED, Outcome, attempt
from medtransfer.tracking import store_uri

AT_ONCE = 1000  # tasks that wait in the cluster; it chooses where they run
PASSED_ON = ("DVC_", "OMP_NUM_THREADS", "PYTHONPATH")  # settings of the caller that the tasks get


class RayLauncher:
    """Tasks of a cluster; one whose process or host dies is done again elsewhere by Ray, as often as `retries` says."""

    def __init__(self, params: Params, address: str | None, cpus: float, gpus: float, retries: int) -> None:
        """Join or start the cluster.

        Args:
            params: of the study.
            address: of an existing cluster; None starts one on this machine.
            cpus: share of a job.
            gpus: share of a job, where the cluster has any.
            retries: of a job whose process or host died.

        Raises:
            InputError: Ray is not installed, or there is no such cluster.
        """
        self.ray = _ray()
        self.params, self.started = params, not self.ray.is_initialized()
        if self.started:
            try:
                _knock(address)
                self.ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
            except Exception as fault:  # sockets and Ray raise ConnectionError, ValueError, RuntimeError and its own
                reason = " ".join(str(fault).split())[:300]
                raise InputError(
                    f"expected a Ray cluster at {address or 'this machine'}, but there is none ({reason}); start one with "
                    "`ray start --head`, or correct grid.address"
                ) from None
        there = self.ray.cluster_resources().get("GPU", 0)
        if there and gpus > there:
            raise InputError(f"expected a cluster with {gpus:g} GPUs for a job, but it has {there:g}; lower grid.gpus")
        self.cpus, self.gpus = cpus, gpus if there else 0.0
        options = {"num_cpus": cpus, "num_gpus": self.gpus, "max_retries": retries}
        self.task = self.ray.remote(**options, runtime_env={"env_vars": _settings()})(run_there)
        self.jobs: dict[Any, Job] = {}
        self.shared = self.ray.put((params, _store_settings()))

    @property
    def free(self) -> int:
        """Count the jobs that the cluster still takes."""
        return AT_ONCE - len(self.jobs)

    @property
    def places(self) -> int:
        """Count the jobs that the cluster can do at once, as far as is known now."""
        there = self.ray.cluster_resources()
        fitting = [there.get(kind, 1) / share for kind, share in (("CPU", self.cpus), ("GPU", self.gpus)) if share]
        return max(1, int(min(fitting)))

    def submit(self, job: Job) -> None:
        """Give a job to the cluster."""
        self.jobs[self.task.options(name=job.name).remote(self.shared, job, str(Path.cwd()))] = job

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Wait until at least one job has ended and give what ended."""
        ended, _ = self.ray.wait(list(self.jobs), num_returns=1)
        more, _ = self.ray.wait(list(self.jobs), num_returns=len(self.jobs), timeout=0)
        for reference in dict.fromkeys([*ended, *more]):
            job = self.jobs.pop(reference)
            try:
                yield job, self.ray.get(reference)
            except self.ray.exceptions.RayError as fault:  # after all of Ray's own retries
                words = " ".join(str(fault).split())[:300]
                yield job, Outcome(FAILED, f"Ray gave it up: {words}", 0.0)

    def close(self) -> None:
        """Take back what waits and leave the cluster; one that was started here ends."""
        for reference in self.jobs:
            self.ray.cancel(reference, force=False)
        if self.started:
            self.ray.shutdown()


def run_there(shared: tuple[Params, dict[str, str]], job: Job, folder: str) -> Outcome:
    """Do a job in a process of the cluster."""
    params, settings = shared
    os.environ.update(settings)
    os.chdir(folder)
    quiet_libraries()
    return attempt(params, job)


def _knock(address: str | None) -> None:
    """Try the door of a named cluster: Ray itself would wait for minutes."""
    host, found, port = (address or "").removeprefix("ray://").rpartition(":")
    if found and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _settings() -> dict[str, str]:
    """Give the environment that the tasks start in: the caller's code, one thread a core unless it says otherwise."""
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    code = os.pathsep.join(path for path in sys.path if path and (Path(path) / "medtransfer").is_dir())
    return {**found, **({"PYTHONPATH": code} if code else {})}


def _store_settings() -> dict[str, str]:
    """Give what reaches the caller's store, passwords too: a dashboard shows environments, but not what tasks are given."""
    found = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    found.pop("MLFLOW_RUN_ID", None)  # the run that `mlflow run` opened is the study's, not a cell's
    return {**found, "MLFLOW_TRACKING_URI": store_uri()}


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("expected Ray for --launcher ray, but it is not installed; run pip install 'medtransfer[ray]'") from None
    return ray
