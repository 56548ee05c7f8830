"""The race as a function: `medtransfer.race`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.race import stage
from medtransfer.race.outcome import Race
from medtransfer.working_folder import load_arguments, path_texts


def race(candidates: str | Path | Sequence[str | Path] = (), *, target: str | None = None, **settings: Any) -> Race:
    """Choose a checkpoint by fine-tuning the candidates in rungs of growing length under a budget.

    It does what the command `medtransfer race` does in the working folder, whose params.yaml counts if there is one: finished
    fine-tunings are reused, page and tables are written to the folder `out`, and the winner is tested once. Fine-tunings run
    in processes of their own, so a script that calls it needs the guard `if __name__ == "__main__":`.

    A long call is silent but for warnings, and progress bars on a terminal;
    `logging.basicConfig(level=logging.INFO, format="%(message)s")` before it shows what it is doing.

    ```python
    race = medtransfer.race(["checkpoints/unet-simple"], target="my-lesions", budget_factor=0.45)
    print(race.entrants[race.winner].name, race.tested, race.spent, "of", race.full, "epochs")
    ```

    Args:
        candidates: files and folders of checkpoints, or a single one; empty: those of the study.
        target: prepared target to fine-tune on; None: the first of the study.
        **settings: other keys of the section `race` of params.yaml, such as `eta=3`, `seeds=2` or `start_from="rank"`.

    Returns:
        The race: `entrants`; `winner`, the index of the best; `rivals`, the indices of those that cannot be distinguished from
        it; `tested`, the winner's test value; `heats`, the rungs; `spent` and `full`, its epochs and those of fine-tuning all.

    Raises:
        InputError: the candidates, the target, the budget or a setting cannot be used.
        StageError: a fine-tuning failed.
    """
    named = {"candidates": path_texts(candidates, "candidates"), "target": target}
    given = {key: value for key, value in named.items() if value} | settings
    return stage.race(load_arguments("race", given))
