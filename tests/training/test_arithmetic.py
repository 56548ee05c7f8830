"""The flags of a GPU's arithmetic are those of the stage, and afterwards what they were."""

import pytest
import torch

from medtransfer.training.arithmetic import arithmetic


def flags() -> dict[str, object]:
    cudnn = torch.backends.cudnn
    return {
        "conv": cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32, "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic, "algorithms": torch.are_deterministic_algorithms_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
    }  # fmt: skip


@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("tf32", [True, False])
def test_a_stage_sets_its_flags_and_restores_those_before(tf32, reproducible, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the user's choice, which stays
    before = flags()
    with arithmetic(torch.device("cuda"), tf32=not tf32, reproducible=not reproducible):
        outer = flags()
        with pytest.raises(KeyError), arithmetic(torch.device("cuda"), tf32=tf32, reproducible=reproducible):
            assert flags() == {
                "conv": tf32, "matmul": tf32, "benchmark": not reproducible, "deterministic": reproducible,
                "algorithms": reproducible, "fill": False,
            }  # fmt: skip
            raise KeyError
        assert flags() == outer
    assert flags() == before


@pytest.mark.parametrize("reproducible", [True, False])
def test_new_tensors_are_not_filled_before_they_are_written(reproducible):
    """PyTorch fills them with NaN by default where algorithms are deterministic, on a CPU, too."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    with arithmetic(torch.device("cuda"), tf32=False, reproducible=reproducible):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            torch.empty(1000)
    assert not [event for event in profile.events() if event.name == "aten::fill_"]


def test_a_cpu_has_no_flags():
    before = flags()
    with arithmetic(torch.device("cpu"), tf32=True, reproducible=False):
        assert flags() == before
