"""Reconstruction of masked views by one or more heads that share all but the last block of the decoder.

Source: Dippel et al. 2022, section 2.2 and figure 3: the view unmasked (b), the same crop in the image's own colours (c), the map
of masked pixels (d), and the view with masked pixels black (e). The paper gives the heads no weights: here the loss is the mean of
their mean squared errors, and outputs have no activation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from medtransfer.data.pretext_views import View
from medtransfer.decoders.build import build_decoder
from medtransfer.decoders.contract import Decoder
from medtransfer.encoders.contract import Encoder
from medtransfer.pretrain.objectives.contract import Objective
from medtransfer.pretrain.objectives.gallery import draw_columns, some_items
from medtransfer.pretrain.objectives.views import by_view, normalised, open_views
from medtransfer.pretrain.recipe import Recipe
from medtransfer.training.fabric import Fabric

CHANNELS = {"plain": 3, "original": 3, "mask": 1, "visible": 3}  # of the output, by head
TITLES = {"plain": "the view", "original": "own colours", "mask": "masked pixels", "visible": "masked black"}


class Tail(nn.Module):
    """Last block and head of a decoder, beside those of another one."""

    def __init__(self, decoder: Decoder) -> None:
        """Take the layers of a decoder."""
        super().__init__()
        self.layers = nn.ModuleList(decoder.tail)
        self.initialisation = decoder.initialisation


class ReconstructionModel(nn.Module):
    """Encoder and decoder, which ends in the first head; further heads have a last block of their own."""

    def __init__(self, encoder: Encoder, heads: Sequence[str], decoder: str | None) -> None:
        """Add a decoder and heads to an encoder.

        Args:
            encoder: encoder of the images.
            heads: keys of CHANNELS.
            decoder: key of DECODERS; None for the encoder's default.
        """
        super().__init__()
        first, *further = (build_decoder(encoder, CHANNELS[head], decoder) for head in heads)
        self.encoder, self.decoder = encoder, first
        self.heads = nn.ModuleList(Tail(each) for each in further)
        self.initialisation = encoder.initialisation

    def reconstruct(self, maps: list[Tensor]) -> list[Tensor]:
        """Decode the maps of images into the output (N, C, H, W) of each head."""
        return self.decoder.decode(
            maps, [self.decoder.tail, *(tuple(tail.get_submodule("layers").children()) for tail in self.heads)]
        )

    def forward(self, x: Tensor) -> Any:
        """Reconstruct images (N, 3, H, W): the output (N, C, H, W) of each head."""
        return self.reconstruct(self.encoder(x))


class Reconstruction(Objective):
    """Encoder, decoder and heads, trained by the mean squared error; see `Objective`."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "heads")

    def __init__(self, recipe: Recipe, images: Any) -> None:
        """Take the views."""
        super().__init__(recipe, images)
        self.heads: list[str] = recipe.options["heads"]
        self.terms = tuple(f"mse_{head}" for head in self.heads)

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open two masked views of each picture."""
        return cls(recipe, open_views(root, recipe))

    def build(self, encoder: Encoder) -> nn.Module:
        """Build encoder, decoder and heads."""
        return ReconstructionModel(encoder, self.heads, self.recipe.options["decoder"])

    def inputs(self, fabric: Fabric, batch: Tensor, generator: Generator | None) -> tuple[Tensor, View]:
        """Return both masked views of B images, (2 B, 3, H, W), and what they are views of."""
        view = View.split(by_view(fabric, batch))
        return normalised(view.masked, self.recipe), view

    def loss(self, outputs: Any, targets: View) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean of the heads' mean squared errors."""
        errors = self.errors(outputs, targets)
        return self.recipe.options["weight"] * torch.stack(list(errors.values())).mean(), errors

    def errors(self, outputs: Sequence[Tensor], targets: View) -> dict[str, Tensor]:
        """Return the mean squared error of each head."""
        return {
            f"mse_{head}": mse_loss(output.float(), target_of(head, targets))
            for head, output in zip(self.heads, outputs, strict=True)
        }  # fmt: skip

    def reconstructions(self, outputs: Any) -> Sequence[Tensor]:
        """Return the outputs of the heads among those of the model."""
        return outputs

    @torch.no_grad()
    def draw(self, path: Path, fabric: Fabric, model: nn.Module) -> None:
        """Draw masked views of validation images, and target and output of each head."""
        inputs, view = self.inputs(fabric, torch.stack(some_items(self.images["val"]))[:, :1], None)
        with fabric.autocast():
            outputs = self.reconstructions(model(inputs))
        columns = {"input": view.masked}
        for head, output in zip(self.heads, outputs, strict=True):
            columns |= {TITLES[head]: target_of(head, view), f"output: {TITLES[head]}": output}
        draw_columns(path, columns)


def target_of(head: str, view: View) -> Tensor:
    """Return what a head is to output: (N, 3, H, W), or (N, 1, H, W) for `mask`."""
    if head == "visible":
        return view.plain * (1 - view.mask)
    return {"plain": view.plain, "original": view.original, "mask": view.mask}[head]
