"""Modes of transfer: which parts of a model a fine-tuning trains.

To add a mode, add one line to `MODES`; tests/test_modes.py walks it. Modes are facts without code, in the lowest layer: their
names are checked with the parameters, and what they freeze decides how robustness takes features.
"""

from dataclasses import dataclass


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
        """Whether the encoder stays as the checkpoint has it."""
        return "encoder" not in self.trains


MODES = {
    "full": Mode("encoder and decoder are trained", frozenset({"encoder", "decoder"})),
    "decoder": Mode("only the decoder is trained", frozenset({"decoder"})),
}
