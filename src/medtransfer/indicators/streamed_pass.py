"""One streamed pass over a target that feeds all requested indicators."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medtransfer.data.views import TwoViews, ViewBatch
from medtransfer.encoders.channels import adapt_input
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.errors import InputError
from medtransfer.indicators.contract import Batch, Context, Indicator, Measured, Options, ViewMaps, ViewSettings
from medtransfer.indicators.requirements import PROBABILITIES
from medtransfer.indicators.robustness.negatives import NegativePlan, negatives
from medtransfer.progress import track_within
from medtransfer.records import PreparedTarget
from medtransfer.seeds import derive_seed
from medtransfer.training.memory import keep_freed_memory

log = logging.getLogger("medtransfer")
NOT_LOADED = NoHead("it was not loaded")


@dataclass(frozen=True)
class Inputs:
    """Inputs of one step: jittered views, plain images and their labels, each None if no indicator needs it."""

    positions: np.ndarray
    repeat: int
    views: ViewBatch | None
    images: Tensor | None
    labels: Tensor | None


@torch.no_grad()
def measure(
    indicators: Sequence[Indicator], encoder: Encoder, target: PreparedTarget, settings: ViewSettings, options: Options, *,
    contract: Mapping[str, Any], batch_size: int, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]],
    label: str, head: SourceHead | NoHead = NOT_LOADED,
) -> dict[str, Measured]:  # fmt: skip
    """Measure all indicators in one pass; memory grows with the number of images only by a few numbers each.

    The result of an indicator does not depend on which others are measured.

    Args:
        indicators: indicators to measure.
        encoder: encoder to score, adapted to the target's channels; it is put into eval mode, for batch norm and stochastic depth.
        target: its images are jittered (Algorithm 3) where views are needed, and normalised.
        settings: settings of the images and pairs of views.
        options: settings at which the indicators are computed.
        contract: `mean` and `std` per channel, from the checkpoint.
        batch_size: images per forward pass, without the negatives from other batches.
        device: device that the encoder is moved to.
        autocast: makes the context of the forward pass.
        label: label of the progress bar.
        head: source head of the encoder; without one, indicators that need it have no value, and the reason is logged.

    Returns:
        By name of the indicator.

    Raises:
        InputError: the split has too few images.
    """
    keep_freed_memory()
    needs = frozenset().union(*(indicator.needs for indicator in indicators))
    if settings.features == "view" and "features" in needs:
        needs = needs - {"features"} | {"views"}
    without_head = _without_head(indicators, head, label)
    encoder = adapt_input(encoder, target.info.input_channels).to(device).eval()
    images = TwoViews(
        target, settings.split, mean=contract["mean"], std=contract["std"], seed=settings.seed,
        max_images=settings.max_images, device=device,
    )  # fmt: skip
    plans = _plans(images, target, settings) if "views" in needs else ()
    context = Context(
        images.ids, images.groups, _count_labels(target), settings.seed, settings.repeats, plans, options, settings.blocks,
        without_head=without_head, encoder=encoder, labels=target.label_kind or "pixels",
    )  # fmt: skip
    steps = -(-len(images) // batch_size)
    repeats = (
        track_within(_inputs(images, needs, plan, batch_size, repeat), label, steps, "batches")
        for repeat, plan in enumerate(plans or (None,))
    )
    steps_of_all = (inputs for batches in repeats for inputs in batches)
    classifier = head.to(device) if PROBABILITIES in needs and isinstance(head, SourceHead) else None
    return feed(indicators, context, encoder, steps_of_all, autocast, settings.features == "view", classifier)


def _count_labels(target: PreparedTarget) -> int:
    """Return the number of classes: of pixels the background is one, of whole images that without the only class."""
    return max(2, len(target.info.classes)) if target.label_kind == "one" else len(target.info.classes) + 1


def _without_head(indicators: Sequence[Indicator], head: SourceHead | NoHead, label: str) -> str:
    """Return why indicators that need the source head are not measured, and log it; empty if none needs it or it exists."""
    needing = [indicator.name for indicator in indicators if PROBABILITIES in indicator.needs]
    if not needing or isinstance(head, SourceHead):
        return ""
    log.warning("%s: %s not measured, since there is no softmax head: %s", label, " and ".join(needing), head.reason)
    return head.reason


@torch.no_grad()
def feed(
    indicators: Sequence[Indicator], context: Context, encoder: Encoder, inputs: Iterable[Inputs],
    autocast: Callable[[], AbstractContextManager[Any]], features_of_view: bool = False, head: SourceHead | None = None,
) -> dict[str, Measured]:  # fmt: skip
    """Encode inputs step by step and pass the maps to the indicators; arguments as in `measure`.

    With `features_of_view` the maps of the first views serve as features, too. The head is applied in float32.
    """
    measurements = [(indicator, indicator.begin(context)) for indicator in indicators]
    steps = iter(inputs)
    step = next(steps, None)
    while step is not None:
        with autocast():
            batch = _encode(encoder, step, features_of_view)
        if head is not None and batch.features is not None:
            classify = head if context.labels == "pixels" else head.of_images
            batch = replace(batch, source_probabilities=classify(batch.features[-1].float()).softmax(dim=1))
        step = next(steps, None)  # prepared while the GPU computes the maps
        context.samples.update(batch)
        for indicator, measurement in measurements:
            if indicator.needs <= batch.provides:
                measurement.update(batch)
        del batch  # frees its memory for the next maps
    return {indicator.name: measurement.compute() for indicator, measurement in measurements}


def _plans(images: TwoViews, target: PreparedTarget, settings: ViewSettings) -> tuple[NegativePlan, ...]:
    """Choose the negatives of every repeat: one choice for all would add its own noise to their mean."""
    if (count := len(images)) < 2:
        raise InputError(
            f"expected at least 2 images of the split {settings.split!r} in {target.folder}, since a negative is another "
            f"image, but got {count}; choose another split"
        )
    seeds = [derive_seed(settings.seed, "negatives", *([str(repeat)] if repeat else [])) for repeat in range(settings.repeats)]
    return tuple(negatives(images.groups, settings.negative, seed) for seed in seeds)


def _inputs(
    images: TwoViews, needs: frozenset[str], plan: NegativePlan | None, batch_size: int, repeat: int
) -> Iterator[Inputs]:  # fmt: skip
    """Yield the inputs of one repeat; plain images and labels belong to the first."""
    order = np.arange(len(images)) if plan is None else plan.order
    views = iter(()) if plan is None else images.batches(plan.order, plan.negative, batch_size, repeat)
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        yield Inputs(
            positions, repeat, next(views, None),
            images.images(positions) if {"features", "images"} & needs and repeat == 0 else None,
            images.labels(positions) if "labels" in needs and repeat == 0 else None,
        )  # fmt: skip


def _encode(encoder: Encoder, step: Inputs, features_of_view: bool) -> Batch:
    views = step.views
    maps = None if views is None else ViewMaps(step.repeat, encoder(views.queries), encoder(views.keys), views.negative)
    if features_of_view:
        features = maps.queries if maps is not None and step.repeat == 0 else None
    else:
        features = None if step.images is None else encoder(step.images)
    return Batch(step.positions, maps, features, step.labels, images=step.images)
