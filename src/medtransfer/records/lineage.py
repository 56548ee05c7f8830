"""Lineage of a checkpoint: the checkpoints that its pretraining, and those before it, started from."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

PARENT = {"encoder": str, "origin": str, "kind": str, "source": str, "epoch": int, "weights": str}


def _check_parent(value: dict[str, Any]) -> dict[str, Any]:
    if {name: type(held) for name, held in value.items()} != PARENT:
        raise ValueError(f"must have {', '.join(PARENT)}, a whole number as the epoch and texts as the others")
    return value


# A checkpoint that a pretraining started from: its record's fields, `weights` the SHA-256 of its weights file.
Parent = Annotated[dict[str, Any], AfterValidator(_check_parent)]


def are_random(parents: Sequence[Parent]) -> bool:
    """Return whether none of the checkpoints that weights started from had been trained; so of weights without parents."""
    return not any(parent["epoch"] for parent in parents)


def read_parents(params: Mapping[str, str]) -> tuple[Parent, ...]:
    """Return the checkpoints that a pretraining started from, by the params of its run; those without any have none."""
    return tuple(json.loads(params.get("parents") or "[]") or ())


def chain_name(parents: Sequence[Parent], source: str) -> str:
    """Name weights by how they came about, as `simple>chestxray14`: trained by an origin, then on one source after the other.

    A checkpoint of epoch 0 adds nothing: weights that started from a random initialisation are `random>chestxray14`.

    Args:
        parents: checkpoints that they started from, oldest first; at least one.
        source: name of the dataset that they were trained on last.
    """
    first = parents[0]["origin"] if parents[0]["epoch"] else "random"
    return ">".join([first, *(parent["source"] for parent in parents[1:] if parent["epoch"]), source])


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
            f"{'random' if are_random(parents[:depth]) else parent['source']}: {parent['encoder']}-{parent['origin']}, "
            f"epoch {parent['epoch']} ({parent['weights'][:12]})"
            for depth, parent in enumerate(parents, start=1)
        ),
        f"{source}: {name}",
    ]
    lines = [f"{_branch(depth)}{text}" for depth, text in enumerate(trained)]
    return [*lines, *(f"{_branch(len(trained))}{use}" for use in uses)]


def _branch(depth: int) -> str:
    return f"{'   ' * (depth - 1)}└─ " if depth else ""
