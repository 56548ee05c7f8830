"""Any timm model with intermediate features, by name, such as `convnext_tiny.fb_in1k`.

Levels, mean, standard deviation and image size are the model's own. Tensor names are `network.` and timm's names, so timm's
weights files load by name; layers after the last level are removed.

Three kinds of models need special treatment (https://huggingface.co/docs/timm/feature_extraction):
- Channels-last maps, such as Swin's, are returned channels-first.
- A plain Vision Transformer has one stride. Its normalised maps after a quarter, a half, three quarters and all of its
  blocks are interpolated to a quarter, a half, once and twice that stride. This neck has no parameters, so a frozen
  encoder has no random weights, and a weights file sets all of it. For patches of 14 pixels, whose strides fit few
  images, the image is scaled by 14/16 first. With `class_tokens` its last level holds class tokens instead of patches.
- A model of fixed size, such as MaxViT, has windows that tile only multiples of it: the image is padded with zeros at the
  right and the bottom, and the maps are cropped.
"""

import difflib
import inspect
import logging
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, drop_rate, whole_numbers
from medtransfer.encoders.conv_blocks import resized
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.encoders.timm_head import timm_head
from medtransfer.encoders.timm_index import cached_weights
from medtransfer.encoders.timm_library import timm
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.encoders.without_values import without_values

NECK = (1 / 4, 1 / 2, 1, 2)  # strides of a plain Vision Transformer's levels, in patches
ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False}  # arguments that allow images of any size

log = logging.getLogger("medtransfer")


class TimmEncoder(Encoder):
    """A timm model without its head: one level per stride, or four levels for a plain Vision Transformer.

    Attributes:
        network: the model, without the layers that `indices` do not need.
        indices: indices of the intermediate features that become levels.
        strides: strides of these features, in pixels of the network's input.
        plain: whether the model has a single stride.
        class_tokens: blocks, counted from the last, whose class tokens are the last level; 0 for patches.
        tile: the sides of the network's input are padded to multiples of this many pixels.
    """

    name = "timm"
    initialisation = "truncated"
    default_decoder = "unet"
    prefix = "network."
    normalise_maps = True  # the linear bottlenecks of EfficientNet-Lite, for one, span 3 to 10 with ImageNet weights

    def __init__(
        self, name: str, size: int | None = None, stochastic_depth: float = 0.0, pretrained: bool = False,
        in_channels: int = RGB_CHANNELS, class_tokens: int = 0,
    ) -> None:  # fmt: skip
        """Build the model.

        Args:
            name: name of a timm model, with or without the tag of published weights.
            size: side in pixels of the images that a model of fixed size is designed for; None for its default.
            stochastic_depth: rate at the last block, in [0, 1).
            pretrained: whether `initialise` loads the published weights from timm's cache instead of random ones. It is
                False in `arguments`, from which a checkpoint's record rebuilds the model for its own weights.
            in_channels: channels of the images.
            class_tokens: 0, or a number n: the last level of a Vision Transformer is then the class tokens of its last n blocks
                after the final norm, n times its width, equal at all positions. The released `eval_linear.py` of DINO (Caron et al.
                2021, arXiv 2104.14294) takes n = 4 for ViT-S, and Truong et al. 2021 (arXiv 2108.10048) with it.

        Raises:
            ValueError: an argument is out of range, or the model is unknown, has no intermediate features or does not
                accept an argument.
            InputError: the published weights are not in the cache; nothing is downloaded.
        """
        if size is not None:
            whole_numbers("size", [size], 1)
        rate = drop_rate("stochastic_depth", stochastic_depth)
        network = _create(name, size, rate, in_channels)
        config, strides = network.pretrained_cfg, [feature["reduction"] for feature in network.feature_info]
        plain = len(set(strides)) == 1
        indices = _quarters(len(strides)) if plain else [_last(strides, stride) for stride in sorted(set(strides))]
        targets = _neck(strides[0]) if plain else sorted(set(strides))
        channels = [network.feature_info[index]["num_chs"] for index in indices]
        arguments = {"name": name, "size": size, "stochastic_depth": rate, "pretrained": False}
        if class_tokens != 0:
            whole_numbers("class_tokens", [class_tokens], 1)
            _check_class_tokens(name, network, class_tokens, len(strides))
            arguments["class_tokens"] = class_tokens  # records without it stay as they were
            channels[-1] *= class_tokens
        levels = [Level(stride, count) for stride, count in zip(targets, channels, strict=True)]
        super().__init__(arguments, levels, levels[-1].stride, in_channels)
        self.network, self.indices, self.strides, self.plain = network, indices, [strides[i] for i in indices], plain
        self.class_tokens = class_tokens
        self.mean, self.std, self.input_size = tuple(config["mean"]), tuple(config["std"]), config["input_size"][-1]
        fixed = config.get("fixed_input_size") and not ANY_SIZE.keys() & inspect.signature(type(network)).parameters.keys()
        self.tile = (size or self.input_size) if fixed else 1
        whole = set(network.state_dict())
        network.prune_intermediate_layers(indices, prune_norm=not plain, prune_head=True)
        self.heads = (*_classifiers(config), *sorted(whole - set(network.state_dict())))
        place = config.get("hf_hub_id"), config.get("hf_hub_filename")
        self.published = cached_weights(name, *place, "set pretrained: false") if pretrained else None

    def reset(self, seed: int) -> bool:
        """Load the published weights, or initialise as timm does; see `Encoder.reset`."""
        if self.published is not None:
            audit = load_encoder_weights(self, read_weights(self.published), source=str(self.published), allow_unchanged=True)
            log.info("%s", audit)
            return True
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            fresh = TimmEncoder(**self.arguments)
        self.load_state_dict(fresh.state_dict())
        return True

    def source_head(self, tensors: Mapping[str, Tensor]) -> SourceHead | NoHead:
        """Return timm's classifier on the last level; see `Encoder.source_head`."""
        if self.class_tokens:
            return NoHead("its last level holds class tokens of several blocks")
        names = [f"{name}weight" for name in _classifiers(self.network.pretrained_cfg)]
        weights = [tensors[name] for name in names if name in tensors]
        if len(weights) != 1:
            return NoHead("its weights hold no classifier" if not weights else "its weights hold several classifiers")
        size, rate = self.arguments["size"], self.arguments["stochastic_depth"]
        with torch.random.fork_rng(devices=[]):
            network = _create(self.arguments["name"], size, rate, self.in_channels, classes=len(weights[0]))
        return timm_head(self, network, tensors)

    def depths(self) -> dict[str, int]:
        """Number the parameters by the depth of their layer, as timm groups them; see `Encoder.depths`."""
        groups = timm.models.group_parameters(self.network, self.network.group_matcher(coarse=False), reverse=True)
        return {f"{self.prefix}{name}": depth for name, depth in groups.items()}

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps of the levels; see `Encoder.forward`."""
        sides = [(x.shape[2] // level.stride, x.shape[3] // level.stride) for level in self.levels]
        if self.plain:  # one patch per position of the third level; resizes only if the patch is not a power of two
            x = resized(x, *(side * self.strides[0] for side in sides[2]))  # (N, 3, h, w)
        height, width = x.shape[2:]
        if self.tile > 1:
            x = functional.pad(x, (0, -width % self.tile, 0, -height % self.tile))
        maps = self._class_maps(x) if self.class_tokens else self.network.forward_intermediates(
            x, indices=self.indices, norm=self.plain, output_fmt="NCHW", intermediates_only=True
        )  # fmt: skip
        cropped = [m[:, :, : height // stride, : width // stride] for m, stride in zip(maps, self.strides, strict=True)]
        return [resized(m, *side) for m, side in zip(cropped, sides, strict=True)]  # (N, C, H/stride, W/stride)

    def _class_maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps of a Vision Transformer, the last of which holds class tokens of several blocks."""
        last = range(self.indices[-1] + 1 - self.class_tokens, self.indices[-1] + 1)
        indices = sorted({*self.indices, *last})
        features = self.network.forward_intermediates(
            x, indices=indices, norm=True, output_fmt="NCHW", intermediates_only=True, return_prefix_tokens=True
        )
        by_block = dict(zip(indices, features, strict=True))  # maps (N, C, h, w) and prefix tokens (N, P, C)
        tokens = torch.cat([by_block[index][1][:, 0] for index in last], dim=1)  # (N, class_tokens C)
        maps = [by_block[index][0] for index in self.indices]
        return [*maps[:-1], tokens[:, :, None, None].expand(-1, -1, *maps[-1].shape[2:])]


def _create(name: str, size: int | None, rate: float, in_channels: int, classes: int = 0) -> Any:
    """Build a timm model, without its classifier for 0 classes, with random weights, for images of any size if possible."""
    if not (isinstance(name, str) and timm.is_model(name)):
        close = difflib.get_close_matches(str(name), timm.list_models(), 3, 0)
        raise ValueError(f"expected the name of a timm model, such as {', '.join(close)}, but got {name!r}")
    known = _arguments(name)
    if size is not None and "img_size" not in known:
        raise ValueError(f"the timm model {name} is laid out for no size; leave size out")
    if rate > 0 and "drop_path_rate" not in known:
        raise ValueError(f"the timm model {name} has no stochastic depth; leave stochastic_depth out")
    if in_channels != RGB_CHANNELS and "in_chans" not in known:
        raise ValueError(f"the timm model {name} takes images of {RGB_CHANNELS} channels alone")
    options: dict[str, Any] = {**ANY_SIZE, "img_size": size, "drop_path_rate": rate, "in_chans": in_channels}
    return timm.create_model(name, num_classes=classes, **{key: value for key, value in options.items() if key in known})


@cache
def _arguments(name: str) -> frozenset[str]:
    """Return the names of the arguments of a timm model.

    Raises:
        ValueError: its tag is unknown, or it has no intermediate features.
    """
    try:
        with without_values():
            sketch = timm.create_model(name, num_classes=0)
    except RuntimeError as error:  # an unknown tag
        raise ValueError(f"timm has no {name!r} ({error})") from None
    if not all(hasattr(sketch, part) for part in ("forward_intermediates", "prune_intermediate_layers", "feature_info")):
        raise ValueError(f"the timm model {name} has no intermediate features; take another")
    return frozenset(inspect.signature(type(sketch)).parameters)


def _check_class_tokens(name: str, network: Any, count: int, blocks: int) -> None:
    """Raise ValueError if a model has no class token, or too few blocks."""
    known = inspect.signature(network.forward_intermediates).parameters
    if getattr(network, "cls_token", None) is None or "return_prefix_tokens" not in known:
        raise ValueError(f"the timm model {name} has no class token; leave class_tokens out")
    if count > blocks:
        raise ValueError(f"expected class_tokens of at most {blocks}, the blocks of {name}, but got {count}")


def _last(strides: list[int], stride: int) -> int:
    """Return the index of the deepest feature of a stride."""
    return len(strides) - 1 - strides[::-1].index(stride)


def _quarters(blocks: int) -> list[int]:
    """Return the indices of the last block of each quarter of a Vision Transformer."""
    return [max(blocks * quarter // 4, 1) - 1 for quarter in range(1, 5)]


def _neck(patch: int) -> list[int]:
    """Return the strides of a Vision Transformer's levels, for the power of two nearest to the side of its patches."""
    return [int(2 ** round(math.log2(patch)) * factor) for factor in NECK]


def _classifiers(config: dict[str, Any]) -> list[str]:
    """Return the prefixes of the classifier's tensor names."""
    names = config.get("classifier") or ()
    return [f"{name}." for name in ([names] if isinstance(names, str) else names)]
