"""Every training is one compiled graph, whatever else the process has trained; what is not compiled is said."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.training import steps as steps_module
from medtransfer.training.compilation import Compilation
from medtransfer.training.device import open_fabric
from medtransfer.training.steps import Steps

pytestmark = pytest.mark.long

CPU, GPU = torch.device("cpu"), torch.device("cuda")
VARIANTS = [(width, classes) for width in (4, 5) for classes in (1, 2, 3, 4, 5)]  # more than PyTorch's limit of 8


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> CompileCounter:
    """Let torch.compile count graphs instead of generating code, and take this machine for a GPU."""
    original, counter = torch.compile, CompileCounter()
    monkeypatch.setattr(torch, "compile", lambda model, **options: original(model, **{**options, "backend": counter}))
    monkeypatch.setattr(steps_module, "Compilation", lambda requested, _: Compilation(requested, GPU))
    return counter


def trained(model: nn.Module, sizes: list[int]) -> Steps:
    """Train a step on a batch of each size, and evaluate after it."""
    fabric = open_fabric("cpu", 1, "32-true")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    steps = Steps(fabric, model, optimiser, compiles=True, clip_grad=None, ema_decay=None)
    for number, size in enumerate(sizes):
        steps.model.train()
        with steps.compilation.step(size):
            logits = steps.model(torch.ones(size, 3, 16, 16))
        fabric.backward(logits.square().mean())
        steps.update(number)
        with torch.no_grad():
            steps.kept.eval()(torch.ones(7, 3, 16, 16))
    return steps


def test_every_variant_in_a_process_is_one_graph(graphs: CompileCounter) -> None:
    for count, (width, classes) in enumerate(VARIANTS, start=1):
        steps = trained(build_segmenter(build_encoder("unet", width=width, depth=1), classes), [4, 4, 2, 4])
        assert graphs.frame_count == count
        assert steps.compilation.summary == "training steps of 4 images; not 1 of 4 steps of other sizes"


def test_compiled_steps_change_the_models_own_weights(graphs: CompileCounter) -> None:
    models = [nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 14 * 14, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    trained(models[0], [4, 4])
    plain = torch.optim.SGD(models[1].parameters(), lr=0.1)
    for _ in range(2):
        models[1](torch.ones(4, 3, 16, 16)).square().mean().backward()
        plain.step()
        plain.zero_grad()
    for ours, theirs in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("requested", "device", "summary"),
    [(False, GPU, ""), (True, CPU, "nothing, since the device is a cpu"), (True, GPU, "no step, since none was left")],
)
def test_what_was_not_compiled_is_said(requested: bool, device: torch.device, summary: str) -> None:
    compilation, model = Compilation(requested, device), nn.Linear(1, 1)
    assert (compilation.compile(model) is model) != compilation.enabled
    assert compilation.summary == summary


def test_graph_breaks_are_said(graphs: CompileCounter) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return self.weight * images

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

    assert "; with 1 graph breaks (" in trained(Broken(), [4]).compilation.summary
