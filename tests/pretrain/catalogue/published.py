"""State dicts with the names and shapes of published files, made from ours by rules written down a second time."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def filled(number: int, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor that takes no memory, of a value that tells it apart."""
    return torch.full((), (number + 1) / 1000).expand(shape)


def numbered(state: Tensors) -> dict[str, Tensor]:
    """Return tensors of the same names and shapes, each of its own value."""
    return {name: filled(i, tuple(t.shape)) for i, (name, t) in enumerate(state.items()) if not name.endswith("tracked")}


def prefixed(prefix: str, *extra: str) -> Callable[[Tensors], dict[str, Tensor]]:
    """Return a maker of files whose names begin with a prefix, with further tensors."""
    return lambda state: {f"{prefix}{name}": t for name, t in state.items()} | {name: filled(0, (2, 2)) for name in extra}


def radimagenet(state: Tensors) -> dict[str, Tensor]:
    children = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    return {f"backbone.{children[(part := name.split('.', 1))[0]]}.{part[1]}": t for name, t in state.items()}


SIMCLR_V2 = {
    "conv1": "net.0", "bn1": "net.1.0", "conv2": "net.2", "bn2": "net.3.0", "conv3": "net.4", "bn3": "net.5",
    "downsample.0": "projection.shortcut", "downsample.1": "projection.bn.0",
}  # fmt: skip


def simclr_v2(state: Tensors) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        module, leaf = name.rsplit(".", 1)
        if module in ("conv1", "bn1"):
            found[f"net.0.{'0' if module == 'conv1' else '1.0'}.{leaf}"] = tensor
        else:
            group, block, inner = module.split(".", 2)
            found[f"net.{group.removeprefix('layer')}.blocks.{block}.{SIMCLR_V2[inner]}.{leaf}"] = tensor
    return found


def hwio(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor


BYOL = {
    "conv1": "conv_0", "conv2": "conv_1", "conv3": "conv_2", "bn1": "batchnorm_0", "bn2": "batchnorm_1", "bn3": "batchnorm_2",
    "downsample.0": "shortcut_conv", "downsample.1": "shortcut_batchnorm",
}  # fmt: skip


def byol(state: Tensors) -> dict[str, Tensor]:
    leaves = {"weight": "scale", "bias": "offset", "running_mean": "~/mean_ema/average", "running_var": "~/var_ema/average"}
    found = {}
    for name, tensor in state.items():
        module, leaf = name.rsplit(".", 1)
        theirs = "w" if tensor.ndim == 4 else leaves[leaf]
        if module in ("conv1", "bn1"):
            path = "initial_conv" if module == "conv1" else "initial_batchnorm"
        else:
            group, block, inner = module.split(".", 2)
            path = f"block_group_{int(group[-1]) - 1}/~/block_{block}/~/{BYOL[inner]}"
        found[f"res_net50/~/{path}/{theirs}"] = hwio(tensor)
    return found | {"projector/linear/w": filled(0, (2, 2)), "predictor/linear/w": filled(0, (2, 2))}


def simclr_v1(state: Tensors) -> dict[str, Tensor]:
    """TensorFlow numbers the layers as it makes them: a block's shortcut comes before its three convolutions."""
    leaves = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    order = {"conv1": (-1, 0, 0)}
    modules = [name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim == 4]
    for module in modules[1:]:
        group, block, inner = module.split(".", 2)
        order[module] = (int(group[-1]), int(block), 0 if inner == "downsample.0" else int(inner[-1]))
    convolutions = sorted(modules, key=order.__getitem__)
    norm_of = {c: c.replace("conv", "bn").replace("downsample.0", "downsample.1") for c in convolutions}
    found: dict[str, Any] = {"global_step": filled(0, ()), "head_supervised/linear_layer/dense/kernel": filled(0, (2, 2))}
    for number, convolution in enumerate(convolutions):
        suffix = f"_{number}" if number else ""
        found[f"base_model/conv2d{suffix}/kernel"] = hwio(state[f"{convolution}.weight"])
        for leaf, theirs in leaves.items():
            found[f"base_model/batch_normalization{suffix}/{theirs}"] = state[f"{norm_of[convolution]}.{leaf}"]
    return found


moco = prefixed(
    "module.encoder_q.", "module.encoder_q.fc.0.weight", "module.encoder_k.conv1.weight", "module.queue", "module.queue_ptr"
)  # fmt: skip
contrastive = prefixed("module.encoder.", "module.head.0.weight", "module.head_jig.fc1.weight")
clustering = prefixed("module.", "module.projection_head.0.weight", "module.prototypes.weight")
plain = prefixed("", "fc.weight", "fc.bias")


def inside(container: str, make: Callable[[Tensors], dict[str, Tensor]], **others: Any) -> Callable[[Tensors], dict[str, Any]]:
    """Return a maker of files that hold a state dict below a path, beside other entries."""

    def nested(state: Tensors) -> dict[str, Any]:
        value: Any = make(state)
        for key in reversed(container.split(".")):
            value = {key: value}
        return value | others

    return nested


EXTRA = filled(0, (2, 2))
PUBLISHED: dict[str, tuple[Callable[[Tensors], dict[str, Any]], ...]] = {
    "supervised": (plain,),
    **dict.fromkeys(("moco-v1", "moco-v2", "pcl-v1", "pcl-v2"), (inside("state_dict", moco, epoch=200, arch="resnet50"),)),
    **dict.fromkeys(("insdis", "pirl", "infomin"), (inside("model", contrastive, contrast={"memory_1": EXTRA}, epoch=1),)),
    **dict.fromkeys(("swav", "deepcluster-v2", "sela-v2"), (clustering,)),
    **dict.fromkeys(
        ("swav-vissl", "simclr-vissl"),
        (inside("classy_state_dict.base_model.model.trunk", prefixed("_feature_blocks."), iteration=1),),
    ),
    "barlowtwins": (
        plain,
        inside("model", prefixed("module.backbone.", "module.projector.0.weight", "module.bn.running_mean"), epoch=1),
    ),
    "byol": (byol,),
    "simclr-v1": (inside("state_dict", plain), simclr_v1),
    "simclr-v2": (inside("resnet", lambda state: simclr_v2(state) | {"fc.weight": EXTRA}, head={"layers.0.weight": EXTRA}),),
    **dict.fromkeys(("inat2021", "inat2021-scratch", "inat2021-mini"), (inside("state_dict", plain),)),
    "inat2021-mini-scratch": (inside("state_dict", prefixed("module.", "module.fc.weight")),),
    **dict.fromkeys(
        ("chestxray14", "supervised-chestxray14"), (inside("state_dict", prefixed("", "fc.0.weight", "classifier.weight")),)
    ),
    **dict.fromkeys(("chexpert", "supervised-chexpert"), (inside("state_dict", prefixed("module.", "module.fc.0.weight")),)),
    "dino-vits8": (
        prefixed("", "head.weight"),
        inside("teacher", prefixed("module.backbone.", "module.head.mlp.0.weight"), student={"conv1.weight": EXTRA}, epoch=1),
        inside("teacher", prefixed("backbone.", "head.mlp.0.weight"), student={"conv1.weight": EXTRA}),
    ),
    "radimagenet": (radimagenet,),
}  # fmt: skip
