"""A paper of which only printed tables exist."""

from collections.abc import Sequence
from dataclasses import dataclass

from medtransfer.papers.printed.claims import Claim


@dataclass(frozen=True)
class Paper:
    """A paper whose claims are tested from its printed tables.

    Attributes:
        name: key in PAPERS, and the beginning of its data files.
        citation: authors, year and source.
        claims: what it says in words.
        caveats: what limits a test on its numbers.
    """

    name: str
    citation: str
    claims: Sequence[Claim]
    caveats: Sequence[str]
