"""Modes of transfer: which parts of a model a fine-tuning trains.

To add a mode, add one line to `MODES`; tests/test_modes.py covers every entry. Modes are data in the lowest layer, since the
parameters are validated against their names and robustness pools features where the encoder is frozen.
"""

from collections.abc import Collection
from dataclasses import dataclass

from medtransfer.errors import InputError

DECODER = "decoder"  # name of the part of models and checkpoints


@dataclass(frozen=True)
class Mode:
    """A mode of transfer.

    Attributes:
        label: description for the user.
        trains: parts of the model whose weights change, of `encoder` and `decoder`.
        solved: whether they are solved for, not trained by steps; needs a linear head.
        head: name of the head for labels of images that it trains; None for the task's own.
        starts: parts that start from the checkpoint; the others, and the layer of the outputs, start at random.
    """

    label: str
    trains: frozenset[str]
    solved: bool = False
    head: str | None = None
    starts: frozenset[str] = frozenset({"encoder"})

    @property
    def decoder_transferred(self) -> bool:
        """Whether the decoder starts from the checkpoint, too; so only for masks."""
        return DECODER in self.starts

    @property
    def encoder_frozen(self) -> bool:
        """Whether the encoder stays as the checkpoint has it."""
        return "encoder" not in self.trains

    @property
    def on_features(self) -> bool:
        """Whether the head learns from features that are computed once and stored; so only for labels of images."""
        return self.solved or self.head is not None


MODES = {
    "full": Mode("encoder and decoder are trained", frozenset({"encoder", "decoder"})),
    "decoder": Mode("only the decoder is trained", frozenset({"decoder"})),
    "seg-enc-dec": Mode(
        "encoder and decoder start from the checkpoint, and are trained",
        frozenset({"encoder", "decoder"}),
        starts=frozenset({"encoder", "decoder"}),
    ),
    "linear": Mode("a linear head is solved for on the encoder's features", frozenset({"decoder"}), solved=True),
    "fused": Mode("a fusion head is trained on the features of the encoder's sources", frozenset({"decoder"}), head="fused"),
}


def require_decoder(parts: Collection[str], checkpoint: str) -> None:
    """Check that a checkpoint has the decoder that a mode starts from.

    Args:
        parts: names of the parts that it holds.
        checkpoint: what it is called in the message.

    Raises:
        InputError: it has none.
    """
    if DECODER not in parts:
        raise InputError(
            f"expected a checkpoint with a decoder, but {checkpoint} holds {', '.join(parts)} alone; take one of an origin that "
            "trains one, such as segmentation or conrec, or the mode full"
        )
