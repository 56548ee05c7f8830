"""Lineage of a checkpoint: the checkpoints that its pretraining, and those before it, started from."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

PARENT = {"encoder": str, "origin": str, "kind": str, "source": str, "epoch": int, "weights": str}


def _check_parent(value: dict[str, Any]) -> dict[str, Any]:
    if {name: type(held) for name, held in value.items()} != PARENT:
        raise ValueError(f"must have {', '.join(PARENT)}, a whole number as the epoch and texts as the others")
    return value


# A checkpoint that a pretraining started from: its record's fields, `weights` the SHA-256 of its weights file.
Parent = Annotated[dict[str, Any], AfterValidator(_check_parent)]


def chain_name(parents: Sequence[Parent], source: str) -> str:
    """Name weights by how they came about, as `simple>chestxray14`: trained by an origin, then on one source after the other.

    Args:
        parents: checkpoints that they started from, oldest first; at least one.
        source: name of the dataset that they were trained on last.
    """
    return ">".join([parents[0]["origin"], *(parent["source"] for parent in parents[1:]), source])


def draw_chain(parents: Sequence[Parent], source: str, name: str, uses: Sequence[str] = ()) -> list[str]:
    """Draw a lineage as a text tree, one source per line.

    Args:
        parents: checkpoints that the last one started from, oldest first.
        source: name of the dataset that the last one was trained on.
        name: name of the last one's series.
        uses: what the last one is used for, such as targets.
    """
    trained = [
        *(
            f"{parent['source']}: {parent['encoder']}-{parent['origin']}, epoch {parent['epoch']} ({parent['weights'][:12]})"
            for parent in parents
        ),
        f"{source}: {name}",
    ]
    lines = [f"{_branch(depth)}{text}" for depth, text in enumerate(trained)]
    return [*lines, *(f"{_branch(len(trained))}{use}" for use in uses)]


def _branch(depth: int) -> str:
    return f"{'   ' * (depth - 1)}└─ " if depth else ""
