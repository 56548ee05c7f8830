"""A device that is not there and a precision that it lacks are the user's faults, said in one sentence."""

import pytest
import torch

from medtransfer.errors import InputError
from medtransfer.training.device import open_fabric


def test_the_cpu_is_always_there():
    fabric = open_fabric("cpu", 1, "32-true")
    assert fabric.device == torch.device("cpu")
    assert fabric.world_size == 1


def test_bf16_runs_on_the_cpu_too():
    fabric = open_fabric("cpu", 1, "bf16-mixed")
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_16_mixed_on_the_cpu_is_refused_not_replaced():
    with pytest.raises(InputError, match=r"a GPU for precision 16-mixed, but got the CPU by accelerator 'cpu', 1 device; set"):
        open_fabric("cpu", 1, "16-mixed")


def test_a_missing_accelerator_is_named(monkeypatch: pytest.MonkeyPatch):
    def none(**_: object) -> None:
        raise RuntimeError("No supported gpu backend found!\n")

    monkeypatch.setattr("medtransfer.training.device.Fabric", none)
    with pytest.raises(
        InputError, match=r"accelerator 'gpu', 2 devices on this machine, but No supported gpu .* accelerator: auto"
    ):
        open_fabric("gpu", 2, "32-true")
