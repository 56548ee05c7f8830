"""Linear CKA between all levels of several encoders, which see the same images in the same order, batch by batch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.config import Params
from medtransfer.data.views import TwoViews
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.metrics.cka import LEAST_SAMPLES, LinearCKA, MinibatchCKA
from medtransfer.progress import track
from medtransfer.rank.candidates import Candidate
from medtransfer.rank.loading import load
from medtransfer.records import PreparedTarget
from medtransfer.seeds import derive_seed
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.device import lay_out, open_fabric
from medtransfer.training.memory import keep_freed_memory

log = logging.getLogger("medtransfer")
MOST_BYTES = 4 * 2**30  # of the samples or products of the linear estimate
UNBIASED, POOLED = "unbiased", "pooled"


@dataclass(frozen=True)
class Viewer:
    """An encoder with its own view of the images.

    Attributes:
        name: name of the encoder.
        encoder: the encoder, in eval mode on the device.
        images: the images without jitter, normalised and sized as the encoder needs them.
    """

    name: str
    encoder: Encoder
    images: TwoViews


@dataclass(frozen=True)
class Compared:
    """Result of a measurement.

    Attributes:
        values: CKA of every two of M levels (M, M), ordered by encoder, then from finest to coarsest.
        levels: [stride, channels] of the levels of each encoder.
        images: images that the values are of.
        batch: images of a minibatch.
    """

    values: NDArray[np.float64]
    levels: list[list[list[int]]]
    images: int
    batch: int


def split_evenly(count: int, most: int) -> tuple[int, int]:
    """Return the number and the size of equal batches of LEAST_SAMPLES to `most` images that leave out fewest of `count` images."""
    size = max(LEAST_SAMPLES, count // -(-count // most))
    return count // size, size


@torch.no_grad()
def measure(candidates: Sequence[Candidate], target: PreparedTarget, params: Params) -> Compared:
    """Compare encoders in one pass over the images; memory does not grow with their number, but with `estimate: linear`.

    Args:
        candidates: the encoders; all are in memory at once.
        target: target whose images of `score.split` are seen, in a random order that depends on `score.seed` only.
        params: whose sections `cka` and `score` count.

    Raises:
        InputError: there are too few images, an encoder lacks the level `cka.level`, a feature is not finite, or the linear
            estimate would take too much memory.
    """
    section, score = params.cka, params.score
    fabric = open_fabric(score.accelerator, 1, score.precision)
    keep_freed_memory()
    viewers = [_open(candidate, target, params, fabric.device) for candidate in candidates]
    count = len(viewers[0].images)
    if count < LEAST_SAMPLES:
        raise InputError(
            f"expected at least {LEAST_SAMPLES} images of the split {score.split!r} in {target.folder}, but got {count}; set "
            "score.split to another, or add images"
        )
    unbiased = section.estimate == UNBIASED
    batches, size = split_evenly(count, section.batch_size) if unbiased else (-(-count // section.batch_size), section.batch_size)
    order = np.random.default_rng(derive_seed("cka", score.seed)).permutation(count)[: batches * size]
    cka = MinibatchCKA() if unbiased else LinearCKA()
    with arithmetic(fabric.device, tf32=score.tf32, reproducible=True):
        for start in track(range(0, len(order), size), f"cka {target.info.target}", batches, "batches"):
            features: list[NDArray[np.float32]] = []
            for viewer in viewers:
                with fabric.autocast():
                    maps = viewer.encoder(viewer.images.images(order[start : start + size]))
                features += _features(maps, viewer.name, section.features == POOLED)
            if not unbiased:
                _check_memory(len(order), [x.shape[1] for x in features])
            cka.update(*features)
    levels = [[[level.stride, level.channels] for level in viewer.encoder.levels] for viewer in viewers]
    return Compared(np.clip(cka.compute(), -1, 1), levels, len(order), size if unbiased else len(order))


def _open(candidate: Candidate, target: PreparedTarget, params: Params, device: torch.device) -> Viewer:
    section, score, info = params.cka, params.score, target.info
    loaded = load(candidate, score.seed, max(info.input), section.pickle, info.input_channels)
    if -section.level > (count := len(loaded.encoder.levels)):
        raise InputError(
            f"expected a level from -1 to -{count} for {candidate.name}, but got {section.level}; set cka.level, or leave it out"
        )
    height, width = (_fit(side, loaded.encoder.multiple) for side in info.input)
    log.info("cka: %s: %s; sees %dx%d px", candidate.name, loaded.audit, height, width)
    images = TwoViews(
        target, score.split, mean=loaded.contract["mean"], std=loaded.contract["std"], seed=score.seed,
        max_images=section.max_images, size=(height, width), device=device,
    )  # fmt: skip
    encoder = lay_out(loaded.encoder).to(device).eval()
    assert isinstance(encoder, Encoder)
    return Viewer(candidate.name, encoder, images)


def _fit(side: int, multiple: int) -> int:
    """Return the side in pixels that an encoder takes nearest to the target's."""
    return max(1, round(side / multiple)) * multiple


def _features(maps: Sequence[Tensor], name: str, pooled: bool) -> list[NDArray[np.float32]]:
    """Return the features of each level (B, D)."""
    features = []
    for level, each in enumerate(maps, start=-len(maps)):
        flat = (each.float().mean(dim=(2, 3)) if pooled else each.float()).flatten(1)  # (B, C) or (B, C * H * W)
        if not bool(torch.isfinite(flat).all()):
            raise InputError(
                f"expected finite features of {name}, but some of level {level} are NaN or infinite; leave it out, or set "
                "score.precision: 32-true"
            )
        features.append(flat.cpu().numpy())
    return features


def _check_memory(images: int, widths: Sequence[int]) -> None:
    """Refuse features whose exact linear CKA would take too much memory."""
    total = sum(widths)
    if (needed := 8 * total * min(images, total)) > MOST_BYTES:
        raise InputError(
            f"expected features that fit into {MOST_BYTES / 2**30:.0f} GiB for cka.estimate: linear, but {images} images with "
            f"{total} features of all levels take {needed / 2**30:.1f} GiB; set cka.features: pooled, cka.estimate: unbiased, or "
            "a lower cka.max_images"
        )
