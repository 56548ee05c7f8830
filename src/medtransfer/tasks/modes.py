"""Modes of transfer: which parts of a model a fine-tuning trains.

To add a mode: add one line to `MODES` and one test.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Mode:
    """A mode of transfer.

    Attributes:
        label: for people.
        trains: the parts of the model whose weights change, of `encoder` and `decoder`.
    """

    label: str
    trains: frozenset[str]

    @property
    def encoder_frozen(self) -> bool:
        """Whether the encoder stays as the checkpoint has it; robustness then pools its features (section 6)."""
        return "encoder" not in self.trains

    def freeze(self, model: "nn.Module") -> None:
        """Freeze the encoder of a model for good where this mode does not train it."""
        from medtransfer.encoders.freezing import freeze

        if self.encoder_frozen:
            freeze(model.encoder)  # type: ignore[arg-type]


MODES: dict[str, Mode] = {
    "full": Mode("encoder and decoder are trained", frozenset({"encoder", "decoder"})),
    "decoder": Mode("only the decoder is trained", frozenset({"decoder"})),
}
