"""Index of one shard of a pretraining source: names, offsets, sizes and digests of its pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.records.atomic import atomic_path
from medtransfer.records.file_states import State, file_state

SUFFIX = ".index"
FORMAT = "medtransfer/shard-index/2"


def index_path(shard: Path) -> Path:
    """Return the index of a shard, hidden beside it, since tools read all other files of a folder of tables as tables."""
    return shard.with_name(f".{shard.name}{SUFFIX}")


@dataclass(frozen=True)
class ShardIndex:
    """Where the pictures of a shard are, in the order of the file.

    Attributes:
        names: path of each picture below its split, encoded, (N,).
        offsets: begin of its content in the shard's file, int64 (N,), bytes.
        sizes: length of its content, int64 (N,), bytes.
        digests: SHA-256 of its content, uint8 (N, 32).
        state: of the shard before it was read.
        source: digest of the names and states of the files that were packed into it; empty if they are unknown.
    """

    names: NDArray[np.bytes_]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    digests: NDArray[np.uint8]
    state: State
    source: str = ""

    def write(self, path: Path) -> None:
        """Write the index atomically."""
        from safetensors.numpy import save_file

        letters = np.frombuffer(self.names.tobytes(), np.uint8).reshape(len(self.names), -1)
        arrays: dict[str, NDArray[Any]] = {"names": letters, "offsets": self.offsets, "sizes": self.sizes, "digests": self.digests}
        with atomic_path(path) as partial:
            save_file(arrays, partial, {FORMAT: " ".join(map(str, self.state)), "source": self.source})

    @classmethod
    def read(cls, path: Path, shard: Path) -> "ShardIndex | None":
        """Read the index; None if there is none, it is damaged, or the shard has another state by now."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                if metadata.get(FORMAT) != " ".join(map(str, state := file_state(shard))):
                    return None
                letters, *others = (file.get_tensor(name) for name in ("names", "offsets", "sizes", "digests"))
        except (OSError, SafetensorError, ValueError):
            return None
        if letters.ndim != 2 or not letters.size or {len(values) for values in others} != {len(letters)}:
            return None
        names = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}")[:, 0]
        offsets, sizes, digests = others
        return cls(names, offsets, sizes, digests, state, metadata.get("source", ""))
