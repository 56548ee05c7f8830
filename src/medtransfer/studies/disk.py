"""Disk that the checkpoints and fine-tuned models of a study take, in bytes of their weights."""

from collections.abc import Mapping
from pathlib import Path

from medtransfer import study
from medtransfer.config.study_files import Part, StudyFile
from medtransfer.modes import MODES
from medtransfer.records import series_folder
from medtransfer.studies.rows import Row

FLOAT = 4  # bytes of a weight


def count_parameters(chosen: StudyFile) -> dict[str, int | None]:
    """Return the number of weights of each encoder: as the study says, or of a saved checkpoint, or of one that is built.

    None where an encoder cannot be built from its arguments alone, such as a fusion.
    """
    counts: dict[str, int | None] = {}
    for part in chosen.parts:
        for encoder in part.params.study.encoders:
            if counts.get(encoder) is None:
                counts[encoder] = part.about.parameters.get(encoder) or _saved(part, encoder) or _built(part, encoder)
    return counts


def _saved(part: Part, encoder: str) -> int | None:
    folders = [
        series_folder(Path(part.params.pretrain.out), *series)
        for series in study.study_series(part.params, {}) if series[0] == encoder
    ]  # fmt: skip
    sizes = [path.stat().st_size for folder in folders for path in folder.glob("epoch-*.safetensors")]
    return max(sizes) // FLOAT if sizes else None


def _built(part: Part, encoder: str) -> int | None:
    from medtransfer.encoders.build import build_encoder
    from medtransfer.encoders.without_values import without_values

    spec = part.params.pretrain.encoders[encoder]
    try:
        with without_values():
            return sum(weight.numel() for weight in build_encoder(spec.build, **spec.arguments).parameters())
    except Exception:  # a library's model may refuse the meta device in its own way; the disk is then left out
        return None


def checkpoint_bytes(chosen: StudyFile, parameters: Mapping[str, int | None]) -> int:
    """Return the size of all checkpoints; encoders of unknown size are left out."""
    series = {
        (part.params.pretrain.out, *names): len(study.study_epochs(part.params, names[1]))
        for part in chosen.parts for names in study.study_series(part.params, {})
    }  # fmt: skip
    return sum(FLOAT * (parameters[encoder] or 0) * epochs for (_, encoder, _), epochs in series.items())


def model_bytes(row: Row, parameters: Mapping[str, int | None]) -> int:
    """Return the size of a row's models; a frozen encoder is not stored again. Heads of one layer are left out."""
    size = 0
    for part, cell in ((one.part, one.cell) for one in row.cells if one.part.params.finetune.keep != "metrics"):
        own = parameters[cell.encoder] or 0
        whole = part.about.models.get(cell.encoder, own)
        size += FLOAT * (whole - own if MODES[cell.mode].encoder_frozen else whole)
    return size


def readable(size: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
