"""Connect a command to the tracking store, and publish what the store lacks."""

import logging
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.wording import are

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger("medtransfer")
P = ParamSpec("P")
R = TypeVar("R")
RESULTS = ("pretrain", "score", "finetune")  # stages whose results on disk fill a store that lacks them


def reach_store(params: Params, stages: "Iterable[str]", make: bool = True) -> None:
    """Find the tracking store before any work, and publish the results that it missed while it was unreachable.

    Args:
        params: where results on disk are.
        stages: stages that will write runs.
        make: whether to make a store where there is none, since there will be a result for it.

    Raises:
        InputError: the store cannot be reached, the experiment of a stage was deleted, or the store lacks the run that
            `mlflow run` opened.
    """
    tracking.require_experiments(stages)
    tracking.require_project_run()
    if make:
        tracking.make_store()
    if not tracking.missed_runs():
        return
    publish(params)
    for run in tracking.missed_runs():  # another `out`, changed files, or a stage without a result on disk
        log.warning("the tracking store lacks the run %s, and its result is not on disk: run %s again", run.name, run.stage)
        run.drop()


def publish(params: Params) -> None:
    """Write the runs of all results on disk that the tracking store lacks."""
    from medtransfer.finetune.sync import publish as publish_models
    from medtransfer.pretrain.sync import publish as publish_checkpoints
    from medtransfer.score.sync import publish as publish_scores

    prepared = Path(params.prepare.out)
    written = publish_checkpoints(Path(params.pretrain.out))
    written += publish_scores(params.score, prepared, Path(params.pretrain.out))
    written += publish_models(Path(params.finetune.out), prepared)
    if written:
        log.info("%s now in the tracking store, which lacked what is on disk", are(written, "result"))


def command(
    *stages: str, needs: "Callable[..., Callable[[], None] | None] | None" = None, make: bool = True
) -> "Callable[[Callable[Concatenate[Params, P], R]], Callable[Concatenate[Params, P], R]]":
    """Decorate a function of params that writes runs: before it, the store is found and missing inputs are made.

    Args:
        stages: stages of the runs.
        needs: takes the same arguments, refuses inputs that can neither be found nor made before the store's libraries are
            loaded, and returns what makes the missing ones, if any can be.
        make: as for `reach_store`.
    """

    def decorate(function: "Callable[Concatenate[Params, P], R]") -> "Callable[Concatenate[Params, P], R]":
        @wraps(function)
        def run(params: Params, *args: P.args, **kwargs: P.kwargs) -> R:
            make_missing = needs(params, *args, **kwargs) if needs else None
            reach_store(params, stages, make)
            if make_missing:
                make_missing()
            return function(params, *args, **kwargs)

        return run

    return decorate
