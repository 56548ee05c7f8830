"""Features, labels and views of the published set of test values of the indicators."""

import numpy as np


def features(n: int, d: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d), of waves and of the class, and labels (n,)."""
    i, j = np.ogrid[:n, :d]
    labels = np.arange(n) % classes
    return np.sin(1 + 0.7 * i * (j + 1)) + np.cos(0.3 * (i + 1) * (j + 2)) + 2.0 * (labels[:, None] == j % classes), labels


def second_view(first: np.ndarray) -> np.ndarray:
    """Second view (n, d) of features."""
    i, j = np.ogrid[: first.shape[0], : first.shape[1]]
    return first + 0.25 * np.sin(2 * i + 0.5 * j)


def four_views(first: np.ndarray) -> np.ndarray:
    """Four views (n, 4, d) of features."""
    i, j = np.ogrid[: first.shape[0], : first.shape[1]]
    return np.stack([first + 0.3 * np.sin((k + 1) * (1.1 * (i + 1) + 0.5 * j)) for k in range(4)], axis=1)


TALL, WIDE = features(60, 8, 3), features(20, 32, 3)
