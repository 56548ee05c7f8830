"""Remove the model of a finished cell; its metrics, values per image and run stay."""

from dataclasses import replace
from pathlib import Path

from medtransfer import tracking
from medtransfer.locks import exclusive
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, Result

MODEL = (WEIGHTS_FILE, MODEL_FILE)


def prune(folder: Path, result: Result) -> bool:
    """Remove the model of a cell from its folder and from its run; return whether there was one.

    The result that says so is written first, so that an interruption never leaves one that names a model which is gone. A call
    that was interrupted is made up for by the next.

    Args:
        folder: folder of the cell.
        result: contents of its `metrics.json`.
    """
    files = [folder / name for name in MODEL if (folder / name).exists()]
    if not (result.parts or files):
        return False
    with exclusive(folder):
        replace(result, settings={**result.settings, "parts": []}).write(folder / "metrics.json")
        if run := tracking.find_finished("finetune", result.key):
            tracking.replace_artifacts(run.id, folder / "metrics.json", [f"model/{name}" for name in MODEL])
        for file in files:
            file.unlink(missing_ok=True)
    return True
