"""Layer-wise learning rates: the nearer a layer of the encoder is to the input, the smaller its steps."""

from torch import nn

from medtransfer.encoders.contract import Encoder


def layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """Return the factor on the learning rate of every parameter: decay^k for the k-th layer of the encoder from its end.

    The decoder has the factor 1 and the encoder's last layer `decay`, as the head and the last block in BEiT and MAE. Which
    parameters form a layer says the encoder, as in timm: a block, or the stem.

    Args:
        model: its part `encoder` is an Encoder.
        decay: in (0, 1].

    Returns:
        Factors by parameter name.

    Source: Clark et al. 2020 (arXiv:2003.10555), section 3.1; Bao et al. 2022 (arXiv:2106.08254), appendix.
    """
    encoder = model.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    depths = {f"encoder.{name}": depth for name, depth in encoder.depths().items()}
    layers = 1 + max(depths.values())
    return {name: decay ** (layers - depths.get(name, layers)) for name, _ in model.named_parameters()}
