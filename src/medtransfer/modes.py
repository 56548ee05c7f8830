"""Modes of transfer: which parts of a model a fine-tuning trains.

To add a mode, add one line to `MODES`; tests/test_modes.py covers every entry. Modes are data in the lowest layer, since the
parameters are validated against their names and robustness pools features where the encoder is frozen.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A mode of transfer.

    Attributes:
        label: description for the user.
        trains: parts of the model whose weights change, of `encoder` and `decoder`.
        solved: whether they are solved for on stored features, not trained by steps; needs a linear head.
    """

    label: str
    trains: frozenset[str]
    solved: bool = False

    @property
    def encoder_frozen(self) -> bool:
        """Whether the encoder stays as the checkpoint has it."""
        return "encoder" not in self.trains


MODES = {
    "full": Mode("encoder and decoder are trained", frozenset({"encoder", "decoder"})),
    "decoder": Mode("only the decoder is trained", frozenset({"decoder"})),
    "linear": Mode("a linear head is solved for on the encoder's features", frozenset({"decoder"}), solved=True),
}
