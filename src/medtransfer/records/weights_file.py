"""Weights files of any origin: which ones may be read, checked without loading torch."""

import re
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.records.arrays import BROKEN_ARRAYS
from medtransfer.records.untrusted import in_one_line, require_file

OFFSETS = re.compile(rb'"data_offsets":\s*\[\s*\d+\s*,\s*(\d+)\s*\]')  # begin and end of a tensor, from the header's end on
PICKLES = (".pt", ".pth", ".ckpt", ".pth.tar", ".th", ".bin", ".torch")


def check_weights_file(path: Path, allow_pickle: bool) -> None:
    """Check the kind of a weights file, and the header of a .safetensors file.

    Raises:
        InputError: the file is missing, broken, of another kind, or is a pickle that was not allowed.
    """
    require_file(path, "weights", "correct the path, or get the file again")
    if path.suffix == ".safetensors":
        tensor_names(path)
    elif not path.name.endswith(PICKLES):
        raise InputError(f"expected a .safetensors, .pt or .pth file, but got {path}; convert it to .safetensors")
    elif not allow_pickle:
        raise InputError(
            f"expected a .safetensors file, but {path} is a pickle, which is read only on request; "
            "set pickle: true in its origin if you trust where it comes from, or convert it to .safetensors"
        )


def tensor_names(path: Path) -> list[str]:
    """List the names of the tensors of a .safetensors file.

    Raises:
        InputError: the file is missing or broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except (SafetensorError, *BROKEN_ARRAYS) as error:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(error)}); get the file again"
        ) from None


def is_whole(path: Path) -> bool:
    """Return whether a file exists and, a .safetensors file, is as long as its header says, as one that was cut off is not.

    The header is searched, not parsed, since a study asks this of thousands of files.

    Source: https://huggingface.co/docs/safetensors, Format.
    """
    try:
        with path.open("rb") as file:
            if path.suffix != ".safetensors":
                return True
            length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
            if size < 8 + length:
                return False
            ends = map(int, OFFSETS.findall(file.read(length)))
    except OSError:
        return False
    return size == 8 + length + max(ends, default=0)
