"""Compare which way the axes of volumes and masks point."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from medtransfer.data.volumes import read_geometry
from medtransfer.data.volumes.dicom import is_segmentation
from medtransfer.data.volumes.geometry import UNKNOWN, Geometry


def compare_axes(volumes: Sequence[tuple[str, Geometry, Path]]) -> tuple[str, ...]:
    """Note if not all volumes point the same way, or masks were stored in another way than their images.

    Args:
        volumes: name, geometry of the image, and mask of each.
    """
    axes = [(image.axes, image.axes if is_segmentation(mask) else read_geometry(mask).axes) for _, image, mask in volumes]
    counts = Counter(axes)
    if len(counts) == 1 and axes[0][0] == axes[0][1]:
        return ()
    kinds = ", ".join(
        f"{image} with masks {mask} in {count} such as {volumes[axes.index((image, mask))][0]}"
        for (image, mask), count in counts.most_common()
    )
    return (f"the axes of the volumes differ: {kinds}; masks are turned onto their images, and images are kept as stored",)


def axes_of(geometries: Iterable[Geometry]) -> str | None:
    """Return where the axes of volumes point to, such as `LPS`, or `LPS,RAS` where they differ; None where one does not say it."""
    axes = {geometry.axes for geometry in geometries}
    return ",".join(sorted(axes)) if axes and UNKNOWN not in axes else None
