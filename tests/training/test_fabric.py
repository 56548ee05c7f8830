"""Lightning Fabric without PyTorch's compiler, until a module is compiled; each in a process of its own, as it is once for all."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

UNTIL_COMPILED = """
import sys
import medtransfer.predict.model, medtransfer.rank.measurement, medtransfer.score.scorer
from medtransfer.training.device import open_fabric, place
from torch import nn, ones
fabric = open_fabric("cpu", 1, "bf16-mixed")
with fabric.autocast():
    assert fabric.setup_module(nn.Conv2d(1, 2, 3))(place(fabric, ones(1, 1, 4, 4))).shape == (1, 2, 2, 2)
assert "torch._dynamo" not in sys.modules

import torch
from lightning_fabric import wrappers
from medtransfer.training.fabric import Fabric
model, module = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
assert not isinstance(model, wrappers.OptimizedModule)
compiled = torch.compile(model, backend="eager")
assert isinstance(compiled, wrappers.OptimizedModule) and isinstance(compiled, sys.modules["torch._dynamo"].OptimizedModule)
assert not isinstance(module, wrappers.OptimizedModule)
fabric = Fabric(accelerator="cpu", devices=1)
wrapped = fabric.setup_module(compiled)
assert isinstance(wrapped._forward_module, wrappers.OptimizedModule)  # compiled again around Fabric's own
assert torch.equal(wrapped(torch.ones(1, 2)), model(torch.ones(1, 2)))
"""
ASKED_FOR_MORE = """
import sys, torch
from medtransfer.training import fabric
assert "torch._dynamo" not in sys.modules
with fabric._without_compiler():
    from torch._dynamo import OptimizedModule
    assert not isinstance(fabric, OptimizedModule)
    from torch._dynamo import reset
assert reset is sys.modules["torch._dynamo"].reset and torch._dynamo is sys.modules["torch._dynamo"]
compiler = sys.modules["torch._dynamo"]
with fabric._without_compiler():
    import torch._dynamo
    assert sys.modules["torch._dynamo"] is compiler
assert torch._dynamo.reset is reset and sys.modules["torch._dynamo"] is compiler
"""


@pytest.mark.parametrize("code", [UNTIL_COMPILED, ASKED_FOR_MORE], ids=["until compiled", "asked for more"])
def test_the_compiler_is_loaded_when_it_is_needed(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
