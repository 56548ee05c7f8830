"""The flags of a GPU's arithmetic are those of the stage, and afterwards what they were."""

import pytest
import torch

from medtransfer.training.arithmetic import arithmetic


def flags() -> dict[str, object]:
    cudnn = torch.backends.cudnn
    return {
        "conv": cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32, "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic, "algorithms": torch.are_deterministic_algorithms_enabled(),
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
                "algorithms": reproducible,
            }  # fmt: skip
            raise KeyError
        assert flags() == outer
    assert flags() == before


def test_a_cpu_has_no_flags():
    before = flags()
    with arithmetic(torch.device("cpu"), tf32=True, reproducible=False):
        assert flags() == before
