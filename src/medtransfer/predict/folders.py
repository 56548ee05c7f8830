"""Look up fine-tuned models on disk, before any heavy library is imported."""

from collections.abc import Sequence
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, ModelInfo
from medtransfer.tasks import TASKS
from medtransfer.tracking.relocation import ARTIFACTS, OF_MLFLOW


def read_model_info(folder: Path) -> ModelInfo:
    """Read the record of a model.

    Raises:
        InputError: the folder holds none; the message says what it does hold.
    """
    path = folder / MODEL_FILE
    if path.exists():
        info = ModelInfo.read(path)
        if info.task not in TASKS:
            raise InputError(f"expected the task in {path} to be one of {', '.join(TASKS)}, but got {info.task!r}; fine-tune again")
        return info
    if not (folder / "metrics.json").exists():
        below = sorted((str(file.parent) for file in folder.glob(f"**/{MODEL_FILE}")), key=_is_artifact)
        remedy = f"name a model below it, such as {below[0]}" if below else "name the folder of a fine-tuned model"
        raise InputError(f"expected {MODEL_FILE} and {WEIGHTS_FILE} of a fine-tuned model in {folder}, but it has none; {remedy}")
    if not (folder / WEIGHTS_FILE).exists():
        raise InputError(
            f"expected the weights of the model in {folder}, but finetune.keep was `metrics`; fine-tune again with "
            "`--keep weights --force`"
        )
    raise InputError(
        f"expected {path}, but the model is of an earlier version, which wrote none; run the same `medtransfer finetune` again, "
        "which adds it without training"
    )


def _is_artifact(folder: str) -> bool:
    """Return whether a folder is MLflow's copy of a model, which is named only where there is no other."""
    return not {ARTIFACTS, OF_MLFLOW}.isdisjoint(Path(folder).parts)


def read_models(folders: Sequence[Path]) -> list[ModelInfo]:
    """Read the records of models that are to be averaged.

    Raises:
        InputError: there are none, or they predict different classes or have different regions.
    """
    if not folders:
        raise InputError("expected the folder of a fine-tuned model in predict.model, but got none; name one (--model)")
    infos = [read_model_info(folder) for folder in folders]
    for info, folder in zip(infos, folders, strict=True):
        if (info.task, info.classes) != (infos[0].task, infos[0].classes):
            raise InputError(
                f"expected models of the same classes, but {folders[0]} predicts {', '.join(infos[0].classes)} and {folder} "
                f"{', '.join(info.classes)}; average models of one target"
            )
        if info.regions != infos[0].regions:
            raise InputError(
                f"expected models of the same regions, but {folders[0]} has {infos[0].regions or 'none'} and {folder} "
                f"{info.regions or 'none'}; average models of one target"
            )
    return infos
