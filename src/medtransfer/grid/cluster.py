"""Run jobs on a Ray cluster, each as a task with a share of CPUs and GPUs.

All hosts need the working folder under the same path (a shared file system) and access to the same tracking store.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtransfer.config import Params
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError
from medtransfer.grid.launcher import Launcher, LauncherKind
from medtransfer.grid.resources import GB, Share, key_of, share_of
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.store_settings import store_settings
from medtransfer.grid.worker import FAILED, Outcome, attempt
from medtransfer.launchers import forget_launcher
from medtransfer.signals import Stopped, sigterm_kept
from medtransfer.tracking import require_shared_store

AT_ONCE = 1000  # the most tasks submitted at once; Ray chooses where they run
PASSED_ON = ("DVC_", "OMP_NUM_THREADS", "PYTHONPATH")  # environment variables of the caller that tasks inherit
NICENESS = "RAY_worker_niceness"  # 15 by default, so that workers hardly run where other work keeps all cores busy


class RayLauncher:
    """Runs jobs as tasks; Ray retries a task whose process or host died, up to `retries` times."""

    orders = False

    def __init__(self, params: Params, jobs: Sequence[Runnable]) -> None:
        """Connect to the cluster at `grid.address` or, if that is null, `RAY_ADDRESS`, else start one on this machine.

        Args:
            params: params of the study; GPUs are ignored if the cluster has none.
            jobs: all jobs that will be submitted.

        Raises:
            InputError: Ray is not installed, the cluster does not exist, or none of its hosts has room for a job.
        """
        address = _address_of(params)
        _use_token(address)
        self.ray = _ray()
        self.params, self.started = params, not self.ray.is_initialized()
        own = self.started and address is None
        if self.started:
            try:
                _check_reachable(address)
                with sigterm_kept(), _environment({NICENESS: os.environ.get(NICENESS, "0"), **_settings()} if own else {}):
                    # without an address Ray would join whichever cluster was started last on this machine, and die with it
                    self.ray.init(address=address or "local", log_to_driver=False, include_dashboard=False, logging_level="ERROR")
            except SystemExit:  # of Ray's own handler
                raise Stopped(128 + signal.SIGTERM) from None
            except Exception as error:  # sockets and Ray raise many types
                reason = " ".join(str(error).split())[:300]
                if address is None:
                    raise InputError(
                        f"expected to start a Ray cluster on this machine, but that failed ({reason}); name one that runs by "
                        "grid.address, or use the launcher local"
                    ) from None
                raise InputError(
                    f"expected a Ray cluster at {address}, but there is none ({reason}); start one with `ray start --head`, or "
                    f"correct {'grid.address' if params.grid.address else 'RAY_ADDRESS'}"
                ) from None
        self.jobs: dict[Any, Runnable] = {}
        self.has_gpus = self.ray.cluster_resources().get("GPU", 0) > 0
        self.shares = {share_of(params, job, self.has_gpus): job for job in reversed(jobs)}
        try:
            self._check_room()
        except InputError:
            self.close()
            raise
        # a cluster of ours has the settings, and processes that wait with them; tasks with their own would each start another
        environment = {} if own else {"runtime_env": {"env_vars": _settings()}}
        self.task = self.ray.remote(max_retries=params.grid.retries, **environment)(run_remote)
        # as an argument, since Ray's dashboard shows the environment of tasks, and the settings may hold passwords
        self.shared = self.ray.put((params, store_settings()))

    @property
    def workers(self) -> int:
        """Number of jobs that the cluster can run at once, with its current hosts."""
        return max(int(self._at_once(share)) for share in self.shares)

    def at_once(self, job: Runnable) -> float:
        """Return how many such jobs the current hosts run at once."""
        return self._at_once(share_of(self.params, job, self.has_gpus))

    def _at_once(self, share: Share) -> float:
        resources = self.ray.cluster_resources()
        return max(1.0, min(resources.get(kind, 1) / amount for kind, amount in asked(share).items() if amount))

    def has_room(self, job: Runnable) -> bool:
        """Return whether Ray may be given one more task; it waits there until a host has room."""
        return len(self.jobs) < AT_ONCE

    def submit(self, job: Runnable) -> None:
        """Submit a job to the cluster."""
        share = share_of(self.params, job, self.has_gpus)
        memory = {"memory": share.memory_gb * GB} if share.memory_gb else {}
        task = self.task.options(name=job.name, num_cpus=share.cpus, num_gpus=share.gpus, **memory)
        self.jobs[task.remote(self.shared, job, str(Path.cwd()))] = job

    def _check_room(self) -> None:
        """Check that some host has room for each job, which would otherwise wait forever."""
        hosts = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for share, job in self.shares.items():
            if not any(all(host.get(kind, 0) >= amount for kind, amount in asked(share).items()) for host in hosts):
                sizes = sorted({_described({kind: host.get(kind, 0) for kind in asked(share)}) for host in hosts})
                raise InputError(
                    f"expected a host with {_described(asked(share))} for {job.name}, but the cluster's have {' or '.join(sizes)}; "
                    f"start Ray on such a host, or lower {_keys(self.params, job, share)}"
                )

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Wait until at least one job has ended; yield every ended job and its outcome."""
        try:
            ended, _ = self.ray.wait(list(self.jobs), num_returns=1)
            more, _ = self.ray.wait(list(self.jobs), num_returns=len(self.jobs), timeout=0)
        except SystemExit:  # Ray raises one of its own in place of what the handler of a signal raises
            raise Stopped(128 + signal.SIGTERM) from None
        for reference in dict.fromkeys([*ended, *more]):
            job = self.jobs.pop(reference)
            try:
                yield job, self.ray.get(reference)
            except self.ray.exceptions.RayError as error:  # after all of Ray's retries
                reason = " ".join(str(error).split())[:300]
                yield job, Outcome(FAILED, f"Ray gave up: {reason}", 0.0)

    def close(self) -> None:
        """Cancel pending jobs and disconnect; shut the cluster down if it was started here."""
        for reference in self.jobs:
            self.ray.cancel(reference, force=False)
        if self.started:
            self.ray.shutdown()


def asked(share: Share) -> dict[str, float]:
    """Return a share by Ray's names of resources; its memory is in bytes."""
    memory = {"memory": share.memory_gb * GB} if share.memory_gb else {}
    return {"CPU": share.cpus, "GPU": share.gpus, **memory}


def _described(resources: Mapping[str, float]) -> str:
    memory = f" and {resources['memory'] / GB:.3g} GB" if "memory" in resources else ""
    return f"{resources['CPU']:g} cores{',' if memory else ' and'} {resources['GPU']:g} GPUs{memory}"


def _keys(params: Params, job: Runnable, share: Share) -> str:
    """Name the keys that a share comes from."""
    names = ["cpus", "gpus", *(["memory_gb"] if share.memory_gb else [])]
    keys = [key_of(params, job.kind, name) for name in names] + (["pretrain.devices"] if job.devices(params) > 1 else [])
    return f"{', '.join(keys[:-1])} or {keys[-1]}"


class Ray(LauncherKind):
    """A Ray cluster, whose size says how many workers there are, and whose hosts keep the log files."""

    def start(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path) -> Launcher:
        """Connect to a cluster; see `LauncherKind`."""
        if _address_of(params):
            require_shared_store("ray")
        return RayLauncher(params, jobs)


def run_remote(shared: tuple[Params, dict[str, str]], job: Runnable, folder: str) -> Outcome:
    """Run a job in a worker process of the cluster."""
    params, settings = shared
    forget_launcher()  # srun may have started the host's Ray
    os.environ.update(settings)
    os.chdir(folder)
    quiet_libraries()
    return attempt(params, job)


def _address_of(params: Params) -> str | None:
    """Return the address of the cluster to join, None if one is to be started."""
    address = params.grid.address or os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address


def _check_reachable(address: str | None) -> None:
    """Open and close a connection to a named cluster, for whose absence Ray would wait minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _settings() -> dict[str, str]:
    """Return the environment variables of tasks: those passed on, and the path of the caller's code."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    code = os.pathsep.join(path for path in sys.path if path and (Path(path) / "medtransfer").is_dir())
    return {**variables, **({"PYTHONPATH": code} if code else {})}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _use_token(address: str | None) -> None:
    """Let Ray send the token that `ray start` wrote, which recent clusters ask for by default, unless the user says how.

    Source: https://docs.ray.io/en/latest/ray-security/token-auth.html
    """
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if address and "RAY_AUTH_MODE" not in os.environ and ("RAY_AUTH_TOKEN" in os.environ or file.is_file()):
        os.environ["RAY_AUTH_MODE"] = "token"  # read when Ray is first used


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("expected Ray for --launcher ray, but it is not installed; run pip install 'medtransfer[ray]'") from None
    return ray
