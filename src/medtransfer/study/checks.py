"""What can be refused before checkpoints are made, which takes far longer than to prepare targets."""

from collections.abc import Collection, Iterable
from itertools import product
from pathlib import Path

from medtransfer.config import Params
from medtransfer.records import CellName, PreparedTarget
from medtransfer.study.cells import planned_cells, with_values


def check_encoder(params: Params, name: str) -> None:
    """Refuse arguments of an entry of `pretrain.encoders` that its encoder does not take, without loading it."""
    from medtransfer.encoders.arguments import check_arguments

    spec = params.pretrain.encoders[name]
    check_arguments(spec.build, spec.arguments)


def check_cells(params: Params, cells: Iterable[CellName]) -> None:
    """Refuse cells whose recipe or mode does not fit their targets, as far as these are prepared."""
    from medtransfer.finetune.targets import check_targets

    check_targets(params.finetune, cells, Path(params.prepare.out))


def check_score(params: Params) -> None:
    """Refuse a target that lacks what the indicators of the section `score` need; this loads them."""
    from medtransfer.score.requested import check_target

    check_target(params.score, Path(params.prepare.out))


def check_sizes(params: Params, pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse images of a size that an encoder does not take; this builds each encoder once.

    Args:
        params: validated params.
        pairs: names of encoders and of prepared targets.

    Raises:
        InputError: an encoder cannot be built, or does not take the images of a target.
    """
    from medtransfer.encoders.build import build_encoder

    multiples = dict[str, int]()
    for encoder, target in dict.fromkeys(pairs):
        if encoder not in multiples:
            spec = params.pretrain.encoders[encoder]
            multiples[encoder] = build_encoder(spec.build, **spec.arguments).multiple
        PreparedTarget.open(Path(params.prepare.out) / target).require_size(multiples[encoder], encoder)


def check_study_targets(params: Params, targets: Collection[str]) -> None:
    """Refuse prepared targets of the study that cannot be fine-tuned on or scored as it says; this loads the indicators."""
    check_cells(params, [cell for cell in planned_cells(params) if cell.target in targets])
    for target in targets:
        check_score(with_values(params, "score", target=target))
    check_sizes(params, product(params.study.encoders, targets))
