"""Libraries without PyTorch's compiler, until a module is compiled; each in a process of its own, as it is once for all."""

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

import torch
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.without_values import without_values
for build, arguments in (("resnet50", {}), ("swin", {}), ("timm", {"name": "test_convnext"}), ("timm", {"name": "test_resnet"})):
    encoder = build_encoder(build, **arguments)
    with torch.inference_mode():
        encoder.eval()(torch.randn(1, 3, 224, 224))
    with without_values():
        outline = build_encoder(build, **arguments)
        assert torch.zeros(1, device="cpu").add_(1).item() == 1
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (encoder, outline)]
    assert shapes[0] == shapes[1] and all(tensor.is_meta for tensor in outline.state_dict().values())
assert "torch._dynamo" not in sys.modules and "torchvision" in sys.modules and "timm" in sys.modules

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
from medtransfer.encoders.without_compiler import without_compiler
assert "torch._dynamo" not in sys.modules
with without_compiler():
    from torch._dynamo import OptimizedModule
    assert not isinstance(without_compiler, OptimizedModule)
    from torch._dynamo import reset
assert reset is sys.modules["torch._dynamo"].reset and torch._dynamo is sys.modules["torch._dynamo"]
compiler = sys.modules["torch._dynamo"]
with without_compiler():
    import torch._dynamo
    assert sys.modules["torch._dynamo"] is compiler
assert torch._dynamo.reset is reset and sys.modules["torch._dynamo"] is compiler
"""
EXCLUDED = """
import sys, torch
from medtransfer.encoders.without_compiler import without_compiler
with without_compiler():
    import torchvision

    @torch.compiler.disable
    def doubled(x):
        compiled.append(torch.compiler.is_compiling())
        return 2 * x

    @torch.compiler.disable(recursive=False)
    def halved(x):
        return x / 2

compiled = []
assert doubled(torch.ones(2)).tolist() == [2, 2] and halved(torch.ones(2)).tolist() == [0.5, 0.5]
assert doubled.__name__ == "doubled" and "torch._dynamo" not in sys.modules

@torch.compile(backend="eager")
def plus_one(x):
    return halved(doubled(x)) + 1

assert plus_one(torch.ones(2)).tolist() == [2, 2] and compiled == [False, False]
from torchvision.ops import roi_align
assert roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]), 2).shape == (1, 1, 2, 2)
"""
IN_UTILITIES = """
import sys, torch
from medtransfer.encoders.without_compiler import without_compiler
with without_compiler():
    from torch._dynamo.utils import counters
assert counters is sys.modules["torch._dynamo.utils"].counters
import torch._dynamo.utils
assert torch._dynamo.utils is sys.modules["torch._dynamo.utils"] and torch._dynamo is sys.modules["torch._dynamo"]
"""
ITS_MODULES = """
import sys, torch
from medtransfer.encoders.without_compiler import without_compiler
finders = list(sys.meta_path)
try:
    with without_compiler():
        raise KeyError
except KeyError:
    assert "torch._dynamo" not in sys.modules and sys.meta_path == finders
with without_compiler():
    import torch._dynamo.exc
    from torch._dynamo.config import cache_size_limit
    from torch._dynamo.exc import Unsupported
    assert not [name for name in sys.modules if "no_such" in name]
    try:
        import torch._dynamo.no_such_module
    except ModuleNotFoundError as error:
        assert error.name == "torch._dynamo.no_such_module"
    else:
        raise AssertionError
assert sys.meta_path == finders
assert torch._dynamo.exc is sys.modules["torch._dynamo.exc"] and Unsupported is torch._dynamo.exc.Unsupported
assert torch._dynamo.exc.__spec__.origin.endswith("exc.py")

@torch.compile(backend="eager")
def plus_one(x):
    return x + 1

assert plus_one(torch.ones(2)).tolist() == [2, 2]
"""
MODULES_EXCLUDED = """
import torch
from medtransfer.encoders.without_compiler import without_compiler
with without_compiler():
    excluded = torch.compiler.disable(torch.nn.Linear(2, 1))
assert {name.split(".")[-1] for name in excluded.state_dict()} == {"weight", "bias"}
assert type(excluded) is type(torch.compiler.disable(torch.nn.Linear(2, 1)))
"""
CASES = {
    "until compiled": UNTIL_COMPILED, "asked for more": ASKED_FOR_MORE, "excluded": EXCLUDED, "in utilities": IN_UTILITIES,
    "its modules": ITS_MODULES, "modules excluded": MODULES_EXCLUDED,
}  # fmt: skip


@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_the_compiler_is_loaded_when_it_is_needed(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
