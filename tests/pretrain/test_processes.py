"""Pretraining on two processes, of one machine or two: as one process does, with the online rule, and after a death."""

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.pretrain.test_stage import save_every_step
from tests.real_slurm import list_nodes

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.grid import local
from medtransfer.records import list_checkpoints
from medtransfer.records.state import read_progress
from medtransfer.training.steps import Steps

pytestmark = pytest.mark.slow
SOURCES = Path(__file__).parents[2] / "src"
PRELOADED = [*local.PRELOADED, "medtransfer.cli", "medtransfer.study"]
# Swin without stochastic depth and batch norm: the mean of two processes' gradients is the batch's.
SWIN = {"embed": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 4], "window": 2, "stochastic_depth": 0.0, "size": 32}
CHOSEN = {
    "pretrain.encoder": "swin", "pretrain.encoders.swin": SWIN, "pretrain.epochs": 8, "pretrain.checkpoints": [1, 5],
    "pretrain.micro_batch": 8, "pretrain.devices": 2,
}  # fmt: skip
FOLDER, STOP_AT = Path("checkpoints/swin-simple"), "STOP_AT"


def weights(folder: Path) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


# What each launcher tells its processes, by their rank.
LAUNCHERS: dict[str, Callable[[int], dict[str, str]]] = {
    "lightning": lambda rank: {"WORLD_SIZE": "2", "NODE_RANK": "0", "LOCAL_RANK": str(rank)},
    "torchrun": lambda rank: {
        "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2",
    },
    "srun": lambda rank: {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "pretrain", "SLURM_NNODES": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
    },
    # The first of two machines has another address than that of one.
    "torchrun on two": lambda rank: {
        "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.2",
    },
    "srun on two": lambda rank: {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "pretrain", "SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "SLURM_NODEID": str(rank), "SLURM_NODELIST": "127.0.0.2",
    },
}  # fmt: skip
# What `sbatch --ntasks=2` tells its script, which runs once.
SBATCH = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


def be_rank(rank: int, folder: Path, environment: dict[str, str], options: tuple[str, ...]) -> None:
    """Run the command in this process, a copy of one that has imported the libraries."""
    os.chdir(folder)
    os.environ.update(environment)
    if STOP_AT in environment:
        stop_at(int(environment[STOP_AT]))
    said = os.open(f"said-{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["medtransfer", "pretrain", *options]
    runpy.run_module("medtransfer", run_name="__main__")


def stop_at(step: int) -> None:
    """Let every optimiser step be saved, and Ctrl-C come at one, counted from 0."""
    update = Steps.update

    def update_or_stop(self: Steps, number: int) -> None:
        if number == step:
            raise KeyboardInterrupt
        update(self, number)

    patch = pytest.MonkeyPatch()
    save_every_step(patch)
    patch.setattr(Steps, "update", update_or_stop)


def pretrain_on_two(
    *options: str, launcher: str = "lightning", codes: tuple[int, int] = (0, 0), of_second: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """Run the command on two processes, the second with more options, as a launcher does; return what the first said."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}
    common |= environment or {}
    ranks = [
        context.Process(
            target=be_rank,
            args=(rank, Path.cwd(), {**common, **LAUNCHERS[launcher](rank)}, (*options, *of_second[: rank * len(of_second)])),
        )
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(1200)
    said = Path("said-0.txt").read_text()
    assert [process.exitcode for process in ranks] == list(codes), said + Path("said-1.txt").read_text()
    return said


@pytest.fixture(scope="module")
def write_params(tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a maker of params that also writes them to the folder of work."""

    def write(overrides: dict[str, Any]) -> Params:
        params = tiny_params(overrides)
        Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
        return params

    return write


@pytest.fixture(scope="module")
def undisturbed(shared_workplace: Path, write_params: Callable[..., Params]) -> Path:
    """Return the folder of work of a pretraining on two processes."""
    write_params(CHOSEN)
    pretrain_on_two()
    return shared_workplace


def test_two_processes_train_as_one_does(undisturbed, write_params):
    (run,) = tracking.read_runs("pretrain")
    assert (run.params["devices"], run.params["accumulation"]) == ("2", "1")
    assert set(weights(FOLDER)) == {0, 1, 5, 8}
    study.pretrain(write_params({**CHOSEN, "pretrain.devices": 1, "pretrain.micro_batch": 16, "pretrain.out": "alone"}))
    two, one = (json.loads(Path(out, "swin-simple/curves.json").read_text()) for out in ("checkpoints", "alone"))
    assert len(two) == len(one) == 9
    for a, b in list(zip(two, one, strict=True))[:4]:  # rounding adds up
        assert a == pytest.approx(b, rel=1e-4)


def test_two_processes_reconstruct_as_one_does(workplace, write_params):
    """Every part of the loss is the mean over both; the views of an image are the same on any process."""
    chosen = {**CHOSEN, "pretrain.origin": "reconstruction", "pretrain.origins.reconstruction.batch_size": 16, "pretrain.epochs": 2,
              "pretrain.checkpoints": []}  # fmt: skip
    write_params(chosen)
    pretrain_on_two()
    study.pretrain(write_params({**chosen, "pretrain.devices": 1, "pretrain.micro_batch": 16, "pretrain.out": "alone"}))
    two, one = (json.loads(Path(out, "swin-reconstruction/curves.json").read_text()) for out in ("checkpoints", "alone"))
    assert len(two) == 3 and {"train_mse_mask", "val_mse_mask", "val_loss"} <= set(two[-1])
    for a, b in zip(two, one, strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_two_processes_contrast_with_batch_norm(workplace, write_params):
    """Each contrasts its own half of the images; both have the same weights, so that training again gives the same bits."""
    write_params({"pretrain.devices": 2, "pretrain.micro_batch": 8, "pretrain.epochs": 1, "pretrain.checkpoints": [],
                  "pretrain.origin": "conrec", "pretrain.origins.conrec.batch_size": 16})  # fmt: skip
    pretrain_on_two()
    before = weights(Path("checkpoints/unet-conrec"))
    assert set(before) == {0, 1}
    pretrain_on_two("--force")
    assert weights(Path("checkpoints/unet-conrec")) == before


def test_two_processes_stop_by_the_rule_and_resume_without_it(workplace, write_params):
    """The encoder has batch norm, and 10 validation pictures in batches of 4 are shared unevenly."""
    study.prepare(write_params({"pretrain.devices": 2, "pretrain.micro_batch": 4}))
    assert "online rule keeps" in pretrain_on_two("--stop-on", "sample")
    folder = Path("checkpoints/unet-simple")
    before = weights(folder)
    pretrain_on_two(launcher="torchrun")
    assert set(weights(folder)) == {0, 1, 2, 3}
    assert weights(folder).items() >= before.items()
    assert len(tracking.read_runs("pretrain")) == 2


def test_two_processes_resume_within_an_epoch_to_the_same_bits(undisturbed, workplace, write_params):
    write_params(CHOSEN)
    pretrain_on_two(environment={STOP_AT: "8"}, codes=(130, 130))  # the third step of the third epoch
    progress = read_progress(FOLDER / ".resume.safetensors") or {}
    assert (progress["epoch"], progress["part"]["steps"]) == (2, 2)
    assert "swin-simple resumes after epoch 2 and 2 steps of epoch 3" in pretrain_on_two()
    assert weights(FOLDER) == weights(undisturbed / FOLDER)
    assert Path(FOLDER, "curves.json").read_text() == (undisturbed / FOLDER / "curves.json").read_text()


def second_rank(process: subprocess.Popen) -> int | None:
    """Return the process that a command on two devices started as its second rank, if it has."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            parent = int(path.with_name("stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and b"LOCAL_RANK=1" in path.read_bytes():
                return int(path.parent.name)
    return None


def test_a_killed_rank_ends_the_job_and_it_resumes_to_the_same_bits(undisturbed, workplace, write_params):
    """The real command starts its second process itself, also in a job of Slurm."""
    write_params(CHOSEN)
    process = subprocess.Popen(
        [sys.executable, "-m", "medtransfer", "pretrain"], env={**os.environ, **SBATCH, "PYTHONPATH": str(SOURCES)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    state, rank = FOLDER / ".resume.safetensors", None
    deadline = time.monotonic() + 1200
    while (read_progress(state) or {"epoch": 0})["epoch"] < 1:
        assert process.poll() is None, process.communicate(timeout=60)[0]
        assert time.monotonic() < deadline
        rank = rank or second_rank(process)
        time.sleep(0.01)
    assert rank
    os.kill(rank, signal.SIGKILL)
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert "another process of this pretraining ended" in said.splitlines()[-1]
    reached = read_progress(state)
    assert reached is not None and 1 <= reached["epoch"] < 8
    assert [len(tracking.read_runs("pretrain", status=status)) for status in ("FINISHED", "RUNNING", "FAILED")] == [0, 0, 1]
    assert f"swin-simple resumes after epoch {reached['epoch']}" in pretrain_on_two(launcher="srun")
    assert [len(tracking.read_runs("pretrain", status=status)) for status in ("FINISHED", "RUNNING")] == [1, 0]
    assert weights(FOLDER) == weights(undisturbed / FOLDER)


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_two_processes_for_one_device_are_refused(workplace, write_params, launcher):
    write_params({"pretrain.devices": 1})
    said = pretrain_on_two(launcher=launcher, codes=(2, 2))
    assert f"expected 1 process (pretrain.devices), but {launcher} started 2; start the command without {launcher}" in said
    assert not Path("checkpoints").exists() and tracking.read_runs("pretrain", status="FAILED") == []


ON_TWO = {**CHOSEN, "pretrain.devices": 1, "pretrain.num_nodes": 2}


@pytest.mark.parametrize("launcher", ["torchrun on two", "srun on two"])
def test_two_machines_train_to_the_bits_of_one_with_two_devices(undisturbed, workplace, write_params, launcher):
    write_params(ON_TWO)
    pretrain_on_two(launcher=launcher)
    assert weights(FOLDER) == weights(undisturbed / FOLDER)
    (run,) = tracking.read_runs("pretrain")
    assert run.params["devices"] == "2" and "epoch 8: train_loss" not in Path("said-1.txt").read_text()
    assert {info.pretraining for info in list_checkpoints(FOLDER).values()} == {
        info.pretraining for info in list_checkpoints(undisturbed / FOLDER).values()
    }
    write_params(CHOSEN)  # is the same pretraining
    assert "reused" in pretrain_on_two()


def test_slurm_trains_on_two_nodes_to_the_bits_of_one_machine_with_two_devices(undisturbed, workplace, write_params):
    if list_nodes() != {"node1", "node2"}:
        pytest.skip("there is no Slurm of tools/start_slurm.sh here")
    write_params(ON_TWO)
    command = ["srun", "--nodes=2", "--ntasks-per-node=1", sys.executable, "-m", "medtransfer", "pretrain"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "MASTER_ADDR": "127.0.0.1"}  # Slurm alone knows the nodes' names
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert weights(FOLDER) == weights(undisturbed / FOLDER)


def start_machine(rank: int, port: int) -> subprocess.Popen:
    """Start torchrun as on one of two machines, in a group of processes of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1",
               "--master-addr", "127.0.0.2", "--master-port", str(port), "-m", "medtransfer", "pretrain"]  # fmt: skip
    with Path(f"machine-{rank}.txt").open("w") as said:
        return subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(SOURCES)}, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )


def test_two_machines_resume_after_one_was_killed(undisturbed, workplace, write_params):
    """The real torchrun, all of whose processes on the second machine are killed at once; then its variables alone."""
    write_params(ON_TWO)
    state = FOLDER / ".resume.safetensors"
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    machines = [start_machine(rank, port) for rank in range(2)]
    deadline = time.monotonic() + 600
    while (read_progress(state) or {"epoch": 0})["epoch"] < 1:
        assert machines[0].poll() is None and time.monotonic() < deadline, Path("machine-0.txt").read_text()
        time.sleep(0.01)
    os.killpg(machines[1].pid, signal.SIGKILL)
    for worker in Path("/proc").glob("[0-9]*/environ"):  # torchrun gives its workers groups of their own
        with contextlib.suppress(OSError):
            if b"GROUP_RANK=1" in (seen := worker.read_bytes()) and f"MASTER_PORT={port}".encode() in seen:
                os.kill(int(worker.parent.name), signal.SIGKILL)
    assert [machine.wait(600) for machine in machines] == [1, -signal.SIGKILL]
    assert "another process of this pretraining ended" in Path("machine-0.txt").read_text()
    reached = read_progress(state)
    assert reached is not None and 1 <= reached["epoch"] < 8
    assert f"swin-simple resumes after epoch {reached['epoch']}" in pretrain_on_two(launcher="torchrun on two")
    assert weights(FOLDER) == weights(undisturbed / FOLDER)
    assert [len(tracking.read_runs("pretrain", status=status)) for status in ("FINISHED", "FAILED")] == [1, 1]


def test_machines_with_different_params_are_refused(workplace, write_params):
    write_params(ON_TWO)
    said = pretrain_on_two(launcher="torchrun on two", codes=(2, 2), of_second=("--weight-decay", "0.5"))
    assert "expected the same params and source on all machines, but they differ; share the working folder" in said
    assert not list(FOLDER.glob("epoch-*")) and tracking.read_runs("pretrain", status="FAILED") == []


def test_several_machines_need_a_launcher_that_starts_them(workplace, write_params):
    params = write_params(ON_TWO)
    with pytest.raises(InputError, match="expected the command to be started on 2 machines .* but it was started alone"):
        study.pretrain(params)
    expected = "expected 2 processes (pretrain.devices x pretrain.num_nodes), 1 per machine with pretrain.num_nodes 2, by torchrun"
    for launcher in ("torchrun", "srun"):
        said = pretrain_on_two(launcher=launcher, codes=(2, 2))
        assert f"{expected} or srun, but {launcher} started 2, 2 on this machine; start the command as docs/how-to/scale.md" in said
