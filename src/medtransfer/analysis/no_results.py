"""Errors of a store without the results that a command is made of, found before libraries are loaded."""

from medtransfer import tracking
from medtransfer.errors import InputError


def no_fine_tunings() -> InputError:
    """Return the error of a store that holds no finished fine-tuning."""
    return InputError(
        f"expected finished fine-tunings in the tracking store {tracking.shown_store()}, but it holds none; run "
        "`medtransfer finetune` first, or set MLFLOW_TRACKING_URI to the store that has them"
    )


def no_replay() -> InputError:
    """Return the error of a store that holds no replay of the released results."""
    return InputError(
        f"expected a replay of the released results in the tracking store {tracking.shown_store()}, but it holds none; run "
        "`medtransfer replay` first, or set MLFLOW_TRACKING_URI to the store that has it"
    )


def require_results(kind: str) -> None:
    """Check that the store has results of a kind.

    Args:
        kind: `own` fine-tunings, or those of a `replay`.

    Raises:
        InputError: it has none.
    """
    stage, error = ("replay", no_replay) if kind == "replay" else ("finetune", no_fine_tunings)
    if not tracking.has_runs(stage):
        raise error()
