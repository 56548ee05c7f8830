"""Missing devices and precisions are InputErrors; the memory layout keeps results."""

from unittest.mock import Mock

import pytest
import torch
from torch import nn

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import ENCODERS
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.launchers import VARIABLES
from medtransfer.training.device import launch, lay_out, open_fabric, place
from medtransfer.training.fabric import MisconfigurationException


def test_the_cpu_takes_bf16_and_refuses_16_mixed():
    fabric = open_fabric("cpu", 1, "bf16-mixed")
    assert fabric.device == torch.device("cpu") and fabric.world_size == 1
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with pytest.raises(InputError, match=r"a GPU for precision 16-mixed, but got the CPU by accelerator 'cpu', 1 device; set"):
        open_fabric("cpu", 1, "16-mixed")


def test_a_missing_accelerator_is_named(monkeypatch):
    error = RuntimeError("No supported gpu backend found!\n")
    monkeypatch.setattr("medtransfer.training.device.Fabric", Mock(side_effect=error))
    message = r"accelerator 'gpu', 2 devices on this machine, but No supported gpu .* accelerator: auto"
    with pytest.raises(InputError, match=message):
        open_fabric("gpu", 2, "32-true")


def test_too_many_devices_are_named(monkeypatch):
    error = MisconfigurationException("You requested gpu: [0, 1]\n But your machine only has: [0]")
    monkeypatch.setattr("medtransfer.training.device.Fabric", Mock(side_effect=error))
    with pytest.raises(InputError, match=r"2 devices on this machine, but You requested gpu: \[0, 1\] But .* devices: 1"):
        open_fabric("gpu", 2, "32-true")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},  # sbatch --ntasks=1
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},  # srun -n1
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "a"},  # torchrun --nproc-per-node=1
        {"NODE_RANK": "1", "MASTER_ADDR": "other"},
    ],
)
@pytest.mark.parametrize("devices", [1, 2])
def test_a_command_that_is_started_once_makes_its_own_processes(environment, devices, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    strategy = open_fabric("cpu", devices, "32-true").strategy
    assert type(strategy).__name__ == ("DDPStrategy" if devices == 2 else "SingleDeviceStrategy")
    if devices == 2:
        found = strategy.cluster_environment
        assert not found.creates_processes_externally
        assert (found.node_rank(), found.local_rank(), found.main_address) == (0, 0, "127.0.0.1")


def test_the_environment_does_not_override_the_params(monkeypatch):
    monkeypatch.setenv("LT_PRECISION", "bf16-true")
    with pytest.raises(InputError, match="from the params alone, but the environment sets LT_PRECISION; unset them"):
        open_fabric("cpu", 1, "32-true")


def test_a_job_of_another_size_is_refused():
    fabric = Mock(world_size=1)
    with pytest.raises(InputError, match="expected 2 processes, one for each device, but the job has 1"):
        launch(fabric, 2)
    fabric.launch.assert_called_once()


def stepped(segmenter: nn.Module, images: torch.Tensor, steps: int = 3) -> dict[str, torch.Tensor]:
    """Train a few steps and return the weights, contiguous whatever their layout."""
    fabric = open_fabric("cpu", 1, "32-true")
    sgd = torch.optim.SGD(segmenter.parameters(), lr=0.01, momentum=0.9, fused=True)
    model, optimiser = fabric.setup(segmenter, sgd)
    torch.manual_seed(4)
    for _ in range(steps):
        fabric.backward(model(images).square().mean())
        optimiser.step()
        optimiser.zero_grad()
    return {name: value.detach().contiguous() for name, value in segmenter.state_dict().items()}


@pytest.mark.parametrize("name", ENCODERS)
def test_channels_last_changes_rounding_only(name, tiny_params):
    arguments = tiny_params().pretrain.encoders[name].arguments
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def fresh() -> nn.Module:
        segmenter = build_segmenter(ENCODERS[name](**arguments), 3)
        initialise(segmenter, 1)
        return segmenter.double()  # in float32 a few ulps become more within three steps

    fabric = open_fabric("cpu", 1, "32-true")
    plain = stepped(fresh(), images.double())
    first, second = (stepped(lay_out(fresh()), place(fabric, images.double())) for _ in range(2))
    assert place(fabric, images).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(place(fabric, images), images)
    for key, value in plain.items():
        torch.testing.assert_close(first[key], value, rtol=1e-6, atol=1e-9)
        assert torch.equal(first[key], second[key])
