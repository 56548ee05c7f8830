"""Textures of a given scale and direction, smooth noise, and shapes, drawn from a random generator."""

import numpy as np


def grain(rng: np.random.Generator, side: int, period: float, angle: float | None = None) -> np.ndarray:
    """Return a random texture with one dominant period: band-passed noise.

    Args:
        rng: source of the noise.
        side: height and width, pixels.
        period: dominant wavelength, pixels.
        angle: direction across the stripes, radians; None for blobs without direction.

    Returns:
        float (side, side), mean 0, standard deviation 1.
    """
    v, u = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    band = np.exp(-(((np.hypot(u, v) * period - 1) / 0.25) ** 2))
    if angle is not None:
        away = (np.arctan2(v, u) - angle + np.pi / 2) % np.pi - np.pi / 2
        band = band * np.exp(-((away / 0.2) ** 2))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * band).real
    return (texture - texture.mean()) / texture.std()


def clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a smooth random field with structures as large as the picture, float (side, side) in [0, 1]."""
    v, u = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * np.exp(-((np.hypot(u, v) * side / 2) ** 2))).real
    return (field - field.min()) / (field.max() - field.min())


def polar(side: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return every pixel's distance (pixels) and angle (radians) from a centre (y, x), float (side, side) each."""
    y, x = np.mgrid[:side, :side]
    return np.hypot(y - centre[0], x - centre[1]), np.arctan2(y - centre[0], x - centre[1])


def wobbly(distance: np.ndarray, angle: np.ndarray, radius: float, wave: tuple[float, int, float]) -> np.ndarray:
    """Return a disc with an uneven border, bool: `wave` is the relative depth, number of bumps and phase."""
    depth, bumps, phase = wave
    return distance < radius * (1 + depth * np.cos(bumps * angle + phase))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round and clip values in [0, 1] to uint8."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
