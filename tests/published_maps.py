"""Maps, masks and pixels of the published set of test values of the indicators."""

import numpy as np


def maps() -> tuple[np.ndarray, np.ndarray]:
    """Maps (4, 6, 8, 8), of waves and of the class, and labels (4, 8, 8)."""
    n, d, y, x = np.ogrid[:4, :6, :8, :8]
    labels = np.where((y - 3) ** 2 + (x - 3 - n % 2) ** 2 <= 5, 1, np.where((y >= 6) & (x >= 4), 2, 0))
    waves = np.sin(0.3 * (n + 1) * (d + 1) + 0.9 * y + 0.4 * (d + 1) * x) + np.cos(0.2 * (d + 2) * (y + 1) * (x + 1))
    return waves + 1.2 * (labels == d % 3), labels[:, 0]


MAPS, LABELS = maps()
PIXELS = MAPS.transpose(0, 2, 3, 1).reshape(-1, 6), LABELS.ravel()
IMAGES = np.repeat(np.arange(4), 64)  # of the pixels
