"""Settings of the measurements of a ranking: those of `score`, with what `rank` sets itself."""

from typing import Any

from medtransfer.config import Params, Score
from medtransfer.score.options import options_of, settings_of


def scoring(params: Params) -> Score:
    """Return the section `score` with what `rank` sets itself."""
    rank = params.rank
    own: dict[str, Any] = {
        "repeats": rank.repeats, "features": rank.features,
        "pixels": rank.pixels, "blocks": rank.blocks, "max_images": rank.max_images, "indicators": rank.indicators,
        **({"split": "train"} if rank.images else {}),
    }  # fmt: skip
    return params.score.model_copy(update=own)


def shared_settings(params: Params) -> list[Any]:
    """Return what the values of all candidates of a ranking depend on, beside target, mode and indicators."""
    section = scoring(params)
    return [settings_of(section), _options(section), params.rank.stride, params.rank.level]


def _options(section: Score) -> list[Any]:
    options = options_of(section)
    own = {name: chosen.model_dump(mode="json") for name, chosen in options.own.items()}
    return [str(options.robustness), options.margins, options.pixels, own]
