"""Constructor arguments of tiny encoders: one entry for every key of ENCODERS."""

from typing import Any

# For images of 64 pixels: every attention window holds more than one position.
TINY: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 5},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "stochastic_depth": 0.1},
    "swin": {"embed": 8, "depths": [2, 2, 2, 2], "heads": [1, 2, 2, 4], "window": 2, "stochastic_depth": 0.2, "size": 64},
    "timm": {"name": "test_convnext", "stochastic_depth": 0.1},
    "dippel-unet": {"width": 4, "depth": 5},
}
# For the stages, on images of 32 pixels.
TINIEST: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 4},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32], "stochastic_depth": 0.1},
    "swin": {"embed": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 4], "window": 2, "stochastic_depth": 0.2, "size": 32},
    "timm": {"name": "test_convnext", "stochastic_depth": 0.1},
    "dippel-unet": {"width": 4, "depth": 4},
}


def of_fusion(*names: str, tiny: dict[str, dict[str, Any]] = TINIEST) -> list[dict[str, Any]]:
    """Describe the sources of a fused encoder; each has a mean and standard deviation of its own."""
    return [
        {"build": name, "arguments": tiny[name], "mean": [0.1 * k, 0.2, 0.3], "std": [0.5, 0.5, 1.0 + k]}
        for k, name in enumerate(names)
    ]


TINY["fused"] = {"sources": of_fusion("unet", "timm", tiny=TINY), "projection": 8}
TINIEST["fused"] = {"sources": of_fusion("unet", "timm"), "projection": 8}
