"""Classifier of a timm model on the last level of our encoder of it, which is checked to give what the whole model gives."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medtransfer.encoders.source_head import NoHead, SourceHead, unsuitable

if TYPE_CHECKING:
    from medtransfer.encoders.timm import TimmEncoder

# Layers between the last level and the linear layer, as timm's models name them: those of ResNet and RegNet have none.
BEFORE = (
    (), ("norm",), ("norm_pre", "head.norm"), ("head.norm",), ("fc_norm",), ("conv_head", "bn2"),
    ("conv_head", "norm_head", "act2"), ("final_conv",),
)  # fmt: skip
SIDE = 96  # pixels of the image that is classified in both ways
TOLERANCE = 1e-3  # of the largest logit


def timm_head(encoder: "TimmEncoder", network: Any, tensors: Mapping[str, Tensor]) -> SourceHead | NoHead:
    """Return the classifier of a timm model, if it is a linear layer after a mean over the positions of the last level.

    Args:
        encoder: encoder with the weights that belong to the classifier.
        network: the whole model, whose weights are replaced.
        tensors: tensors of the file that are not the encoder's, by timm's names.
    """
    own = {name.removeprefix(encoder.prefix): tensor for name, tensor in encoder.state_dict().items()}
    wanted = network.state_dict()
    given = {name: tensor for name, tensor in {**tensors, **own}.items() if name in wanted}
    differing = [
        name for name, tensor in wanted.items()
        if not name.endswith("num_batches_tracked") and (name not in given or given[name].shape != tensor.shape)
    ]  # fmt: skip
    if differing:
        return NoHead(f"its classifier lacks fitting tensors, such as {differing[0]}")
    network.load_state_dict(given, strict=False)
    linear = network.get_classifier()
    if not isinstance(linear, nn.Linear):
        return NoHead("its classifier is no linear layer")
    if reason := unsuitable(linear.out_features, [tensor for name, tensor in given.items() if name not in own]):
        return NoHead(reason)
    return _checked(encoder, network.eval(), linear)


@torch.no_grad()
def _checked(encoder: "TimmEncoder", network: Any, linear: nn.Linear) -> SourceHead | NoHead:
    """Find the layers before the linear one with which the head gives the model's logits of an image."""
    side = encoder.tile if encoder.tile > 1 else -(-SIDE // encoder.multiple) * encoder.multiple
    if side % encoder.multiple:
        return NoHead(f"its classifier takes images of {side} pixels alone, which the encoder does not")
    image = torch.rand(1, encoder.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    training = encoder.training
    last, expected = encoder.eval()(image)[-1], network(image)
    encoder.train(training)
    for names in BEFORE:
        layers = [_layer(network, name) for name in names]
        if any(layer is None for layer in layers):
            continue
        for pools_first in (True, False):
            head = SourceHead(linear, [layer for layer in layers if layer is not None], pools_first).eval()
            try:
                error = float((head.of_images(last)[..., 0, 0] - expected).abs().max())
            except RuntimeError:  # layers of other shapes
                break
            if error <= TOLERANCE * float(expected.abs().max()):
                return head
    return NoHead("its classifier is no linear layer on the mean of its last level")


def _layer(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None
