"""Stage `export`: write a fine-tuned model in another format, and accept it only if it predicts the same."""

import logging
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medtransfer import __version__, tracking
from medtransfer.config import Export
from medtransfer.environment import git_revision
from medtransfer.errors import InputError, StageError
from medtransfer.export.contract import Format
from medtransfer.export.formats import FORMATS
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.predict.folders import read_model_info
from medtransfer.progress import loading
from medtransfer.records import EXPORT_FILE, Cell, ExportInfo, ModelInfo, atomic_folder

log = logging.getLogger("medtransfer")
STAGE = "export"
ROUNDING = 1e-5  # difference of a probability that other orders of the same sums make, whatever the model
LARGEST = 0.05  # difference that is never accepted, however coarsely a model itself rounds
LIBRARIES = ("torch", "timm", "mlflow", "onnx", "onnxscript", "onnxruntime")


def run(section: Export, checkpoints: Path, force: bool = False) -> str:
    """Export a model to `export.out`.

    Args:
        section: validated params.
        checkpoints: folder of all pretrainings, where a frozen encoder is looked up.
        force: whether to export again what is exported already.

    Returns:
        The text for the terminal.

    Raises:
        InputError: no model is named, it cannot be loaded, or a library of the format is missing.
        StageError: the export predicts something else.
    """
    if section.model is None:
        raise InputError("expected export.model to name the folder of a fine-tuned model, but it is null; name one by --model")
    folder = Path(section.model)
    info = read_model_info(folder)
    form = FORMATS[section.format]
    if form.registered:
        tracking.require_experiments([STAGE])
    cell = Cell(**info.cell)
    out = cell.folder(Path(section.out)) / section.format
    with exclusive(out):
        exported = None if force else _finished(out, _identity(section, info))
        if exported is None:
            exported = _export(section, form, folder, checkpoints, out)
        else:
            log.info("export: %s is finished: reused; --force does it again", out)
        text = f"{out / exported.file}: its probabilities differ from the model's by {exported.difference:.1e} at most"
        if exported.rounding is not None:
            text += f", and the model's own by {exported.rounding:.1e} from double precision"
        return f"{text}\n{_publish(cell, exported, out, force)}" if form.registered else text


def _identity(section: Export, info: ModelInfo) -> str:
    """Return the digest of everything that an export depends on."""
    return digest(
        [section.format, asdict(info), section.times_rounding, _versions(), __version__, git_revision(Path.cwd())],
        16,
    )


def _versions() -> dict[str, str]:
    installed = {"medtransfer": __version__}
    for name in LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:  # of an extra
            continue
    return installed


def _finished(out: Path, identity: str) -> ExportInfo | None:
    """Return the record of an export that depended on the same; None if there is none, or its file is gone."""
    try:
        exported = ExportInfo.read(out / EXPORT_FILE)
    except InputError:
        return None
    return exported if exported.identity == identity and (out / exported.file).exists() else None


def _export(section: Export, form: Format, folder: Path, checkpoints: Path, out: Path) -> ExportInfo:
    """Write the files and their record, all at once, after they were compared with the model."""
    form.require()  # before libraries that take seconds are loaded
    with loading("export"):
        from medtransfer.export.graph import own_rounding
        from medtransfer.predict.model import load_model

    model = load_model(folder, checkpoints, "cpu")
    info = model.info
    interface = form.interface(info)  # what is missing is said before the work
    log.info("export: writing %s as %s and comparing what both predict; many layers take minutes", folder, section.format)
    with atomic_folder(out) as partial:
        form.write(model, partial)
        difference = form.difference(model, partial)
        own = None if difference <= ROUNDING else own_rounding(model)
        tolerance = ROUNDING if own is None else min(max(ROUNDING, section.times_rounding * own), LARGEST)
        if not difference <= tolerance:  # nor NaN
            raise StageError(
                f"expected {section.format} of {folder} to predict the probabilities of the model up to {tolerance:g}, which "
                f"its own rounding explains ({own:g} from double precision), but they differ by {difference:g}; nothing was kept: "
                "raise export.times_rounding only if such a difference does no harm"
            )
        exported = ExportInfo(
            identity=_identity(section, info), kind=section.format, file=form.file, interface=interface, task=info.task,
            classes=info.classes, thresholds=info.thresholds, size=info.size, image_rule=info.image_rule, mean=info.mean,
            std=info.std, key=info.key, weights=info.weights, target=info.cell["target"], source=info.cell["source"],
            lineage=info.lineage, licence=info.licence, difference=difference, tolerance=tolerance,
            versions=_versions(), git_revision=git_revision(Path.cwd()), rounding=own,
        )  # fmt: skip
        exported.write(partial / EXPORT_FILE)
    return exported


def _publish(cell: Cell, exported: ExportInfo, out: Path, force: bool) -> str:
    """Store the export as a run, and as the champion of its target."""
    params = {"kind": exported.kind, "model": exported.key, "target": cell.target, "tolerance": exported.tolerance}
    with tracking.once(STAGE, f"{exported.kind} · {cell.name}", exported.identity, params, force=force) as opened:
        if opened:
            opened.log_metrics({"difference": exported.difference})
            opened.log_artifact(out, tracking.MODEL_FOLDER)
    finished = tracking.find_finished(STAGE, exported.identity)
    if finished is None:
        raise StageError("expected the run of the export in the tracking store, but it is gone; run the same command again")
    tags = {"key": exported.key, "weights": exported.weights, "licence": exported.licence}
    number = tracking.register_model(cell.target, finished.id, tags)
    return f"registered as version {number} of {cell.target}, its {tracking.ALIAS}: models:/{cell.target}@{tracking.ALIAS}"
