"""List cases of which every channel has files of its own, such as case_0000.nii.gz and case_0001.nii.gz of nnU-Net."""

import logging
from collections.abc import Sequence
from pathlib import Path

from medtransfer.data.volumes import ENDINGS, SUFFIXES, TIFF, series_files
from medtransfer.errors import InputError
from medtransfer.predict.images import Image, count_pages
from medtransfer.prepare.readers.case_patterns import CASE, compile_pattern, list_files, list_series, match_cases

log = logging.getLogger("medtransfer")


def list_cases(folder: Path, channels: Sequence[str]) -> list[Image]:
    """List the cases of a folder, and log how many files are of none.

    Args:
        folder: the folder; subfolders are read.
        channels: for each channel a pattern in which {case} stands for the name of the case, or what comes after that name,
            such as _0000 or /t1; endings such as .nii.gz may be left out.

    Raises:
        InputError: a pattern is invalid, there are no cases, or one lacks a channel.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of cases, since predict.channels names {len(channels)} channels, but got {folder}")
    files = list_files(folder)
    by_channel = [_find(files, folder, text if CASE in text else f"{CASE}{text}") for text in channels]
    names = sorted({name for paths in by_channel for name in paths})
    if not names:
        raise InputError(
            f"expected files of the channels {', '.join(channels)} in {folder}, but there are none; correct predict.channels"
        )
    for name in names:
        if missing := [text for text, paths in zip(channels, by_channel, strict=True) if name not in paths]:
            raise InputError(f"expected the channel {missing[0]} of the case {name} in {folder}, but there is none; complete it")
    cases = [_case(name, tuple(paths[name] for paths in by_channel)) for name in names]
    read = {file for case in cases for file in case.files}
    if passed_over := [file for file in files if file not in read]:
        log.warning("predict: %d files in %s are of no channel, such as %s", len(passed_over), folder, passed_over[0].name)
    return cases


def _find(files: Sequence[Path], folder: Path, pattern: str) -> dict[str, Path]:
    """Return the file, or the folder of the DICOM series, of each case."""
    endings = (*ENDINGS, *SUFFIXES)
    known = [path for path in files if path.name.lower().endswith(endings)]
    found = match_cases(known, compile_pattern(pattern, "predict.channels", endings), folder)
    return found or match_cases(list_series(folder, files), compile_pattern(pattern, "predict.channels", ()), folder)


def _case(name: str, parts: tuple[Path, ...]) -> Image:
    files = tuple(file for path in parts for file in (series_files(path) if path.is_dir() else [path]))
    lower = parts[0].name.lower()
    is_picture = lower.endswith(SUFFIXES) and not (lower.endswith(TIFF) and count_pages(parts[0]) > 1)
    return Image(name, parts[0], files, not is_picture, parts)
