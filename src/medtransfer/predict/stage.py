"""Stage `predict`: masks of new images in their own geometry, one finished file after the other."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Predict
from medtransfer.environment import require_device
from medtransfer.errors import InputError
from medtransfer.locks import exclusive
from medtransfer.predict import labels
from medtransfer.predict.channel_files import list_cases
from medtransfer.predict.earlier import find_changed, other_tables, own_tables
from medtransfer.predict.folders import read_models
from medtransfer.predict.images import Image, list_images, shared_limits, why_no_picture
from medtransfer.predict.job import Job
from medtransfer.predict.pixels import rule_of
from medtransfer.predict.publish import STAGE, publish
from medtransfer.predict.reference_masks import find_masks, refuse_masks
from medtransfer.predict.seen import find_seen
from medtransfer.predict.tables import METRICS, write_tables
from medtransfer.predict.target import with_own_labels
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.mask_values import MaskRule, read_rule
from medtransfer.prepare.picture_notes import describe_coloured, describe_constant, describe_transparent
from medtransfer.progress import loading, track
from medtransfer.records import ImageRule, Prediction
from medtransfer.wording import are, composed, counted

log = logging.getLogger("medtransfer")
FAULTS = 10  # reasons, and images with the same one, that are named at most where some cannot be predicted; else one is


def run(section: Predict, checkpoints: Path, prepared: Path, force: bool = False) -> str:
    """Predict all images, and say what was done, with the metrics where there are reference masks; see `predict`."""
    return predict(section, checkpoints, prepared, force)[1]


def predict(section: Predict, checkpoints: Path, prepared: Path, force: bool = False) -> tuple[list[Prediction], str]:
    """Predict all images, or reuse what is finished.

    Args:
        section: validated params.
        checkpoints: folder of all pretrainings, where encoders that were frozen are looked up.
        prepared: folder of all prepared targets, where the training images of the models are looked up.
        force: whether to predict finished images again.

    Returns:
        The record of each image, and what was done, with the metrics where there are reference masks.

    Raises:
        InputError: a model, an image or a mask cannot be used.
    """
    folders = [Path(folder) for folder in section.model]
    infos = read_models(folders)
    if section.images is None:
        raise InputError("expected the images to predict in predict.images, but it is null; name them with --images")
    if infos[0].of_images:
        labels.check(section, infos[0])
    if section.overlap and not section.slide:
        log.warning("predict: images are resized, so that predict.overlap is not used; --slide true makes windows that overlap")
    rule = _mask_rule(section, infos[0].classes)
    folder, suffix = Path(section.images), composed(section.mask_suffix or "")
    images = list_cases(folder, section.channels) if section.channels else list_images(folder, suffix)
    if section.mask_suffix is None and not section.channels:
        refuse_masks(images, folder)
    masks = find_masks(images, Path(section.masks), suffix) if section.masks else {}
    if masks and rule.assumed and rule.threshold is None:
        rule = with_own_labels(rule, infos[0], prepared)
    _warn_of_layout(images, [rule_of(info) for info in infos])
    if masks and (seen := find_seen(images, infos, prepared)):
        some = f"{len(seen)} of the {len(images)} images, such as {seen[0]}, are" if len(images) > 1 else f"the image {seen[0]} is"
        log.warning(
            "predict: %s of the training or validation samples of %s: metrics of images that a model was trained on say nothing "
            "about new ones", some, infos[0].cell["target"],
        )  # fmt: skip
    tracking.require_experiments([STAGE])
    models = sorted(zip(folders, infos, strict=True), key=lambda model: model[1].weights)  # so that their order does not count
    folders, infos = [folder for folder, _ in models], [info for _, info in models]
    job = Job(section, folders, infos, [shared_limits(images, rule_of(info)) for info in infos], masks, rule)
    with exclusive(job.out):
        had_metrics = not (masks or job.of_images) and (job.out / METRICS).exists()
        records, reused = _complete_all(job, images, checkpoints, force)
        text, metrics = write_tables(job, images, records, reused, force)
        if had_metrics:
            log.info("predict: removed the metrics of earlier predictions from %s, since no --masks are named", job.out)
        publish(job, records, metrics, force)
        return records, text


def _warn_of_layout(images: Sequence[Image], rules: Sequence[ImageRule]) -> None:
    """Say how slices are laid out if volumes are given to a model of 8-bit pictures, which may have seen them otherwise."""
    volumes = [image.name for image in images if image.is_volume]
    if volumes and any(rule.kind == "keep" for rule in rules):
        log.warning(
            "predict: the model was trained on pictures of 8 bits, and %d of the images are volumes, such as %s: of a slice x runs "
            "along the columns and y down the rows, array[:, :, z].T of a NIfTI file. If its pictures were saved without the "
            "transpose, the results are wrong: predict pictures that are made alike, or train it on volumes", len(volumes),
            volumes[0],
        )  # fmt: skip


def _mask_rule(section: Predict, classes: Sequence[str]) -> MaskRule:
    """Return how raw values of reference masks become classes: their numbers, unless `labels` says otherwise.

    Of labels that name no background 0 is the background.

    Raises:
        InputError: labels or a threshold do not fit the classes.
    """
    values, threshold = section.labels, section.mask_threshold
    if threshold is not None and (len(classes) > 1 or set((values or {}).values()) - {"ignore"}):
        raise InputError(
            "expected predict.mask_threshold to split masks of one class, without predict.labels other than ignore, but the "
            f"model's classes are {', '.join(classes)} and the labels {values}; set predict.mask_threshold to null"
        )
    if values is None and len(classes) > 1:
        values = dict(enumerate(("background", *classes)))
    elif threshold is None and values and "background" not in values.values() and all(isinstance(v, int) and v for v in values):
        values = {0: "background", **values}
    return replace(read_rule(values, classes, threshold, segments=True), assumed=section.labels is None, from_command=True)


def _complete_all(job: Job, images: Sequence[Image], checkpoints: Path, force: bool) -> tuple[list[Prediction], int]:
    """Return the record of each image, and how many were finished; those that cannot be used are named after all others are done.

    Raises:
        InputError: a model, an image or its reference mask cannot be used.
    """
    keys = {image.name: job.key(image) for image in track(images, "predict: look up", len(images), "images")}
    finished = {} if force else {image.name: known for image in images if (known := job.finished(image, keys[image.name]))}
    if changed := find_changed(job, finished.values()):
        log.warning(
            "predict: %s changed since the prediction, such as %s: it stays, and the tables are of what was predicted",
            are(len(changed), "file"), changed[0],
        )  # fmt: skip
    if len(finished) == len(images):
        for table in other_tables(job):
            table.unlink(missing_ok=True)
        _say_what_is_kept(job, images)
        return list(finished.values()), len(images)
    require_device(job.section.accelerator, job.section.precision)
    unfinished = [image for image in images if image.name not in finished]
    headers = track(unfinished, "predict: open", len(unfinished), "images")
    broken = {image.name: why for image in headers if (why := why_no_picture(image))}
    readable = [image for image in unfinished if image.name not in broken]
    if readable:
        tracking.connect()  # that it cannot be written to is said before the work
    done, faults, conversions = dict(finished), dict(broken), Conversions()
    earlier = {image.name for image in readable if job.record(image).exists()}
    stale = [*other_tables(job), *(own_tables(job) if earlier else ())]
    predicted = _predict(job, readable, checkpoints, keys, conversions, stale) if readable else []
    for image, each in zip(readable, track(predicted, "predict", len(readable), "images"), strict=True):
        if isinstance(each, InputError):
            faults[image.name] = str(each)
        else:
            done[image.name] = each
    replaced = len(earlier & done.keys())
    for note in _describe_conversions(job, conversions):
        log.warning("predict: %s", note)
    if replaced:
        why = "" if force else ", since their files, models or settings, or the version of medtransfer, differ"
        log.info("predict: %s replaced in %s%s", are(replaced, "earlier prediction"), job.out, why)
    _say_what_is_kept(job, images)
    if not faults:
        return [done[image.name] for image in images], len(finished)
    if len(images) == 1:
        raise InputError(faults[images[0].name])
    if not done:
        raise InputError(
            f"none of the {len(images)} images can be predicted: {next(iter(faults.values()))}; and {len(faults) - 1} more"
        )
    named = _list_faults(job, [image for image in images if image.name in faults], faults)
    raise InputError(
        f"{len(faults)} of {len(images)} images cannot be predicted, and the others are finished in {job.out}: mend or remove "
        f"these, and run the same command again, which then writes the tables, too: {named}"
    )


def _predict(
    job: Job, images: Sequence[Image], checkpoints: Path, keys: Mapping[str, str], conversions: Conversions, stale: Sequence[Path]
) -> Iterator[Prediction | InputError]:  # fmt: skip
    """Load the models, and predict images by them (`predict_images`)."""
    with loading("predict"):
        from medtransfer.predict.one_image import load_models, predict_images
    return predict_images(job, load_models(job, checkpoints), images, keys, conversions, stale)


def _list_faults(job: Job, images: Sequence[Image], faults: Mapping[str, str]) -> str:
    """Return why images cannot be predicted: of those with the same reason the first one's sentence, then the others' names."""
    alike = dict[str, list[str]]()
    for image in images:
        files = [str(path) for path in (image.path, *image.files, job.masks.get(image.name)) if path]
        reason = reduce(lambda text, file: text.replace(file, "<file>"), sorted(files, key=len, reverse=True), faults[image.name])
        alike.setdefault(reason, []).append(image.name)
    sentences = [
        faults[first] + (f" (and likewise {', '.join(others[:FAULTS])}{' …' * (len(others) > FAULTS)})" if others else "")
        for first, *others in alike.values()
    ]  # fmt: skip
    left = sum(map(len, list(alike.values())[FAULTS:]))
    return "; ".join(sentences[:FAULTS]) + (f"; and {left} more" if left else "")


def _describe_conversions(job: Job, conversions: Conversions) -> tuple[str, ...]:
    """Return notes on the pictures that lose colour or transparency, or show nothing."""
    effect = " and are turned to grey, which the model expects"
    coloured = describe_coloured(conversions, effect) if any(info.channels == 1 for info in job.infos) else ()
    return *coloured, *describe_transparent(conversions), *describe_constant(conversions)


def _say_what_is_kept(job: Job, images: Sequence[Image]) -> None:
    """Say how many earlier predictions of other images stay in the folder."""
    files = job.out / "files"
    names = {path.relative_to(files).with_suffix("").as_posix() for path in files.rglob("*.json")}
    if others := len(names - {image.name for image in images}):
        log.info("predict: kept in %s, but not in its tables: %s of other images", job.out, counted(others, "prediction"))
