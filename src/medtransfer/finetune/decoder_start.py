"""The decoder of a checkpoint as the start of a fine-tuning.

Source: Dippel et al. 2022, section 2.1, scenario 3; the convolutions on skip connections belong to the decoder.
"""

from pathlib import Path

from medtransfer.decoders.contract import Decoder
from medtransfer.errors import InputError
from medtransfer.modes import DECODER, require_decoder
from medtransfer.records import CheckpointInfo
from medtransfer.training.checkpoints import load_part


def load_decoder(path: Path, info: CheckpointInfo, decoder: Decoder) -> None:
    """Load the decoder of a checkpoint, all but the layer of the outputs, which are others there.

    Args:
        path: path of the record.
        info: its contents.
        decoder: a decoder of the same layers, into which it is loaded.

    Raises:
        InputError: the checkpoint has no decoder (`require_decoder`), or one of other layers, or its file is missing, broken or
            another one.
    """
    require_decoder(info.parts, str(path))
    output = next(name for name, module in decoder.named_modules() if module is decoder.tail[-1])
    stored, own = (
        {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{output}.")}
        for tensors in (load_part(path, info, DECODER), decoder.state_dict())
    )
    if {name: tensor.shape for name, tensor in stored.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise InputError(
            f"expected the layers of the decoder {decoder.name} in {path.with_suffix('.safetensors')}, but those of its decoder "
            "are others; name in finetune.decoder the one that it was pretrained with"
        )
    decoder.load_state_dict(stored, strict=False)
