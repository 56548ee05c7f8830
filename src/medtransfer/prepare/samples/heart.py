"""Generate patients in the ACDC layout: a beating ring with two cavities, as NIfTI volumes with labels."""

import gzip
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np

from medtransfer.prepare.samples.textures import clouds, grain, polar, wobbly

SLICES = 5
FRAMES = {"ED": (1, 1.0), "ES": (9, 0.72)}  # frame number, radius of the cavities relative to ED
BACKGROUND, RIGHT, MUSCLE, LEFT = range(4)
PERIODS = {BACKGROUND: 5.0, RIGHT: 6.5, MUSCLE: 3.2, LEFT: 8.0}  # pixels


@dataclass(frozen=True)
class Anatomy:
    """Shape and appearance of a patient's heart: lengths in pixels, angles in radians, brightness in [0, 1]."""

    side: int
    centre: tuple[float, float]
    cavity: float
    wall: float
    septum: float
    wave: tuple[float, int, float]
    brightness: tuple[float, ...]
    strength: float
    grain_angle: float
    decoys: tuple[tuple[float, float, float, int], ...]


def write_heart(folder: Path, seed: int, patients: int) -> None:
    """Write patients in the ACDC layout; the last quarter goes to testing/.

    Args:
        folder: parent of training/ and testing/.
        seed: the same seed gives the same bytes.
        patients: number of patients, at least 4.
    """
    for number in range(1, patients + 1):
        name = f"patient{number:03d}"
        path = folder / ("testing" if number > patients - patients // 4 else "training") / name
        path.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        anatomy = _draw_anatomy(rng)
        lines = [f"{phase}: {frame}" for phase, (frame, _) in FRAMES.items()]
        (path / "Info.cfg").write_text("\n".join([*lines, "Group: NOR", "NbFrame: 20"]) + "\n", encoding="utf-8")
        for frame, beat in FRAMES.values():
            pairs = [draw_slice(rng, anatomy, beat, z / (SLICES - 1)) for z in range(SLICES)]
            volume, labels = (np.stack(part, axis=-1).transpose(1, 0, 2) for part in zip(*pairs, strict=True))  # (x, y, z)
            gain = rng.uniform(200, 1500)
            _save((volume * gain).astype(np.int16), path / f"{name}_frame{frame:02d}.nii.gz")
            _save(labels.astype(np.uint8), path / f"{name}_frame{frame:02d}_gt.nii.gz")


def draw_slice(rng: np.random.Generator, anatomy: Anatomy, beat: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw one slice.

    Args:
        rng: source of textures and noise.
        anatomy: anatomy of the patient.
        beat: radius of the cavities relative to end-diastole.
        height: 0 at the base, 1 at the apex, where the heart is narrow and the right cavity ends.

    Returns:
        Intensities float (side, side) in about [0, 1], and labels uint8 (side, side).
    """
    side = anatomy.side
    labels = _draw_labels(anatomy, beat, 1 - 0.45 * height, with_right=height < 0.9)
    textures = {kind: grain(rng, side, period, anatomy.grain_angle if kind == RIGHT else None) for kind, period in PERIODS.items()}
    image = np.choose(labels, [anatomy.brightness[kind] + anatomy.strength * textures[kind] for kind in range(4)])
    for y, x, radius, twin in anatomy.decoys:
        inside = (polar(side, (y, x))[0] < radius) & (labels == BACKGROUND)
        image[inside] += anatomy.brightness[twin] - anatomy.brightness[BACKGROUND]
    image = image * (0.75 + 0.5 * clouds(rng, side)) + 0.03 * rng.standard_normal((side, side))
    return np.clip(image, 0, None), labels


def _draw_labels(anatomy: Anatomy, beat: float, scale: float, with_right: bool) -> np.ndarray:
    distance, angle = polar(anatomy.side, anatomy.centre)
    inner = anatomy.cavity * beat * scale
    outer = inner + anatomy.wall * scale * (2 - beat)
    labels = np.zeros((anatomy.side, anatomy.side), np.uint8)
    if with_right:
        centre = (anatomy.centre[0] + outer * np.sin(anatomy.septum), anatomy.centre[1] + outer * np.cos(anatomy.septum))
        labels[wobbly(*polar(anatomy.side, centre), outer * (0.75 + 0.35 * beat), anatomy.wave)] = RIGHT
    labels[wobbly(distance, angle, outer, anatomy.wave)] = MUSCLE
    labels[wobbly(distance, angle, inner, anatomy.wave)] = LEFT
    return labels


def _draw_anatomy(rng: np.random.Generator) -> Anatomy:
    side = int(rng.integers(64, 77))
    unit = side / 64
    centre = (side * rng.uniform(0.44, 0.56), side * rng.uniform(0.56, 0.66))
    decoys = tuple(
        (side * rng.uniform(0, 1), side * rng.uniform(0, 1), unit * rng.uniform(5, 10), int(rng.integers(1, 4))) for _ in range(6)
    )
    return Anatomy(
        side=side,
        centre=centre,
        cavity=unit * rng.uniform(9.5, 12.5),
        wall=unit * rng.uniform(5, 7),
        septum=np.pi + rng.uniform(-0.5, 0.5),
        wave=(rng.uniform(0.02, 0.1), int(rng.integers(2, 5)), rng.uniform(0, 2 * np.pi)),
        brightness=tuple(rng.uniform((0.4, 0.45, 0.35, 0.45), (0.55, 0.6, 0.5, 0.6))),
        strength=rng.uniform(0.14, 0.2),
        grain_angle=rng.uniform(0, np.pi),
        decoys=decoys,
    )


def _save(volume: np.ndarray, path: Path) -> None:
    """Write a gzipped NIfTI file without time stamp and file name, so that its bytes depend only on the volume."""
    image = nib.Nifti1Image(volume, np.diag([-1.4, -1.4, 10.0, 1.0]))
    image.header.set_zooms((1.4, 1.4, 10.0))
    with path.open("wb") as handle, gzip.GzipFile("", "wb", compresslevel=6, fileobj=handle, mtime=0) as packed:
        packed.write(BytesIO(image.to_bytes()).getvalue())
