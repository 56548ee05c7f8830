"""The study that the parameters describe: which results of a store belong to it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from medtransfer.records import CellName
from medtransfer.tracking import StoredRun

EVALUATED = "evaluate"  # param of a fine-tuning: the samples that its metrics are of

MOST_SETTINGS = 3  # that a message names


def is_tested(run: StoredRun) -> bool:
    """Return whether the metrics of a fine-tuning are of test samples, not of the validation samples that a race looks at."""
    return run.params.get(EVALUATED, "test") == "test"


@dataclass(frozen=True)
class Described:
    """Digests of the study that the parameters describe; a digest that is not known is not compared.

    Attributes:
        protocol: of the fine-tunings.
        data: of the prepared targets, by name.
        pretraining: of the checkpoints, by (encoder, origin).
        seeded: origins that the study pretrains once per seed, each under a name of its own; a result of the plain name is not
            of the study.
        names: names that the parameters define, by field (`target`, `encoder`, `origin`); other fields are not compared.
        every_epoch: whether the study fine-tunes all checkpoints, so that one that is only scored is missing.
        recipe: params of the fine-tunings, as the store has them, that the protocol is the digest of, each with the value of runs
            that lack it; for messages alone.
        planned: fine-tunings that the section `study` plans; what is judged is compared with them, not restricted to them.
        unknown_ends: pretrainings, by (encoder, origin), that may have stopped before some planned epochs.
    """

    protocol: str
    data: Mapping[str, str] = field(default_factory=dict)
    pretraining: Mapping[tuple[str, str], str] = field(default_factory=dict)
    seeded: frozenset[str] = frozenset()
    names: Mapping[str, Collection[str]] = field(default_factory=dict)
    every_epoch: bool = True
    recipe: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    planned: tuple[CellName, ...] = ()
    unknown_ends: frozenset[tuple[str, str]] = frozenset()

    @property
    def values(self) -> list[Any]:
        """Everything as JSON values."""
        pretraining = [[*series, digest] for series, digest in sorted(self.pretraining.items())]
        names = {field: sorted(names) for field, names in self.names.items()}
        planned = sorted(cell.name for cell in self.planned)
        return [
            self.protocol,
            dict(self.data),
            pretraining,
            sorted(self.seeded),
            names,
            self.every_epoch,
            planned,
            sorted(self.unknown_ends),
        ]

    def differing(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the digests and fields in which a result differs from the study.

        Args:
            fields: encoder, origin, target, and the digests of the result.
        """
        known = {
            "protocol": self.protocol, "data": self.data.get(fields["target"]),
            "pretraining": self.pretraining.get((fields["encoder"], fields["origin"])),
        }  # fmt: skip
        differing = [name for name, digest in known.items() if digest is not None and fields[name] != digest]
        unknown = [name for name, names in self.names.items() if fields[name] not in names]
        return (*differing, *(["pretraining seed"] if fields["origin"] in self.seeded else []), *unknown)

    def settings_of(self, params: Mapping[str, str]) -> str:
        """Name the params of a fine-tuning by another protocol that differ from the recipe; empty where none is known to."""
        differing = [
            f"finetune.{name} {got} instead of {value}"
            for name, (value, former) in self.recipe.items() if (got := params.get(name, former)) != value
        ]  # fmt: skip
        more = [f"{len(differing) - MOST_SETTINGS} more"] if len(differing) > MOST_SETTINGS else []
        return ", ".join([*differing[:MOST_SETTINGS], *more])
