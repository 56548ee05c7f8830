"""Lineages in the report: which weights continue from which, as text trees."""

from medtransfer.analysis.model import Analysis
from medtransfer.records.lineage import draw_chain

HEADING = "Where the weights come from"
ROOT = "Each line continues from the one above it. Epoch 0 of these configurations is the checkpoint in the line above theirs."


def trees(analysis: Analysis) -> list[str]:
    """Draw a tree for each pretraining that continues from another one, down to the targets that its weights were used for."""
    uses: dict[str, list[str]] = {}
    pools = {pool.digests["pretraining"]: pool for judged in analysis.judged if (pool := judged.pool).parents}
    for judged in analysis.judged:
        fields = judged.pool.fields
        uses.setdefault(judged.pool.digests.get("pretraining", ""), []).append(f"{fields['target']}, {fields['mode']}")
    return [
        "\n".join(
            draw_chain(
                pool.parents,
                pool.fields["source"],
                f"{pool.fields['encoder']}-{pool.fields['origin']}",
                list(dict.fromkeys(uses[key])),
            )
        )
        for key, pool in pools.items()
    ]
