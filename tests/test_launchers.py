"""Processes that torchrun, srun or mpirun started: their number and ranks, and the commands that refuse them."""

import os

import pytest

from medtransfer.errors import InputError
from medtransfer.launchers import (
    VARIABLES,
    Launch,
    find_launch,
    forget_launcher,
    is_main_process,
    require_machines,
    require_processes,
)

# The variables are those of the launchers' manuals; each of their processes has them all.
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
LIGHTNING = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}
SBATCH = {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "77"}
SRUN = {**SBATCH, "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, None),
        (TORCHRUN, Launch("torchrun", 2, 1)),
        (LIGHTNING, Launch("torchrun", 2, 1)),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, Launch("torchrun", 2, 0)),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, None),
        (SBATCH, None),  # a batch script runs once, however many tasks the job may start
        ({"SLURM_NTASKS": "1"}, None),
        (SRUN, Launch("srun", 2, 1)),
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({**SRUN, **TORCHRUN}, Launch("torchrun", 2, 1)),  # torchrun on each host of a job
        (MPIRUN, Launch("mpirun", 2, 1)),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, Launch("mpiexec", 4, 0)),
        ({"RANK": "3"}, Launch("torchrun", 4, 3)),
        ({"LOCAL_RANK": "1"}, Launch("torchrun", 2, 1)),
        ({"SLURM_PROCID": "1"}, Launch("srun", 2, 1)),
        ({"WORLD_SIZE": "8"}, None),
    ],
)
def test_processes_know_their_number_and_rank(
    environment: dict[str, str], launch: Launch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == launch
    assert is_main_process() is (launch is None or launch.rank == 0)
    forget_launcher()
    assert find_launch() is None and {name for name in environment if name in os.environ} <= set(SRUN)


ON_TWO = {"RANK": "8", "LOCAL_RANK": "0", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "GROUP_RANK": "1"}
SRUN_ON_TWO = {"SLURM_PROCID": "8", "SLURM_NNODES": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "16"}


@pytest.mark.parametrize("environment", [ON_TWO, SRUN_ON_TWO])
@pytest.mark.parametrize(("machines", "refused"), [(2, False), (1, True), (4, True)])
def test_processes_are_divided_among_the_machines_evenly(
    environment: dict[str, str], machines: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    require_machines(machines)
    if not refused:
        return require_processes(16, "pretrain.devices", machines)
    message = (
        rf"expected 16 processes .*, {16 // machines} per machine .*num_nodes {machines}, .* started 16, 8 on this machine; start"
    )
    with pytest.raises(InputError, match=message):
        require_processes(16, "pretrain.devices", machines)


def test_several_machines_need_a_launcher() -> None:
    require_machines(1)
    with pytest.raises(
        InputError, match="expected the command to be started on 2 machines .* by torchrun or srun, but it was started"
    ):
        require_machines(2)


@pytest.mark.parametrize(
    ("environment", "number", "refused"),
    [
        ({}, 1, False),
        ({}, 8, False),
        (SBATCH, 1, False),
        (TORCHRUN, 2, False),
        (SRUN, 2, False),
        (TORCHRUN, 1, True),
        (SRUN, 1, True),
        (SRUN, 8, True),
        (MPIRUN, 2, True),
    ],
)
def test_another_number_of_processes_is_refused(
    environment: dict[str, str], number: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if not refused:
        return require_processes(number, "pretrain.devices")
    with pytest.raises(InputError, match=rf"expected {number} process(es)? \(pretrain.devices\), but \w+ started 2; start the"):
        require_processes(number, "pretrain.devices")


def test_a_rank_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(InputError, match="whole number in the environment variable RANK, but got 'first'; unset or correct it"):
        find_launch()
