"""timm, imported without PyTorch's compiler."""

from medtransfer.encoders.without_compiler import without_compiler

with without_compiler():
    import timm
    from timm.layers import calculate_drop_path_rates
    from timm.models import adapt_input_conv
    from timm.models.resnet import Bottleneck, ResNet
    from timm.models.swin_transformer import SwinTransformer, SwinTransformerStage

__all__ = [
    "Bottleneck", "ResNet", "SwinTransformer", "SwinTransformerStage", "adapt_input_conv", "calculate_drop_path_rates", "timm",
]  # fmt: skip
