"""Contact sheet of a prepared target: samples with the outlines of their masks and a legend, or with their classes in words."""

from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from medtransfer.data.colours import colour_of, to_colours
from medtransfer.data.fonts import load_font
from medtransfer.records import IGNORE, IMAGE_TASKS, UNCERTAIN, PreparedTarget, TargetInfo
from medtransfer.wording import composed

COLUMNS, ROWS, CELL, LINE, TEXT = 4, 3, 256, 18, 12  # pixels of a cell, of a line of text, and of its letters


def draw_preview(prepared: PreparedTarget, path: Path) -> None:
    """Write a PNG of up to twelve samples spread over the dataset, with non-empty masks if there are any.

    The text above a sample names its split, its source and, of volumes, its slice; class c is outlined in `colour_of(c)` on
    black. Labels of whole images are written into them.
    """
    labels = list(range(1, len(prepared.info.classes) + 1)) + [IGNORE] * prepared.info.ignore if prepared.has_masks else []
    names = dict(zip(labels, [*prepared.info.classes, "ignored"], strict=False))
    legend = _draw_legend(names, COLUMNS * CELL)
    sliced, shown = prepared.index["slice"].ne(0).any(), _name_sources(prepared)
    sheet = Image.new("RGB", (COLUMNS * CELL, ROWS * (CELL + LINE) + legend.height))
    for cell, line in enumerate(_choose(prepared)):
        sample = prepared.index.iloc[line]
        top, left, height, width = (int(sample[name]) for name in ("top", "left", "height", "width"))
        area = (int(sample["row"]), slice(top, top + height), slice(left, left + width))
        picture = _enlarge(prepared.images[area], prepared.masks[area] if prepared.has_masks else None)
        x, y = cell % COLUMNS * CELL, cell // COLUMNS * (CELL + LINE)
        title = f"{sample['split']} {shown[sample['source']]}" + (f" slice {sample['slice']}" if sliced else "")
        _write(sheet, (x + 4, y), title, CELL - 8)
        sheet.paste(picture, (x, y + LINE))
        if prepared.info.task in IMAGE_TASKS:
            _write(sheet, (x + 4, y + LINE), describe_label(prepared.info, prepared.image_labels[area[0]]), CELL - 8, "black")
    sheet.paste(legend, (0, ROWS * (CELL + LINE)))
    sheet.save(path, format="PNG")


def _name_sources(prepared: PreparedTarget) -> dict[str, str]:
    """Return the names of the sources' files, after as many folders as distinguish them; of a DICOM series, its folder's name."""
    sources = prepared.index["source"].unique()
    parts = {source: PurePosixPath(source).parts for source in sources}
    if prepared.info.reader == "dicom":
        parts = {source: names[:-1] or names for source, names in parts.items()}
    most = max(map(len, parts.values()), default=1)
    depth = next((depth for depth in range(1, most) if len({names[-depth:] for names in parts.values()}) == len(parts)), most)
    return {source: "/".join(names[-depth:]) for source, names in parts.items()}


def describe_label(info: TargetInfo, label: np.ndarray) -> str:
    """Return the label of an image in words: its class, or those that it has, with a question mark where that is uncertain."""
    if info.task == "binary":
        return info.classes[0] if label else f"not {info.classes[0]}"
    if info.task != "multilabel":
        return info.classes[int(label)]
    marks = {1: "", UNCERTAIN: "?"}
    return (
        ", ".join(name + marks[state] for name, state in zip(info.classes, label.tolist(), strict=True) if state in marks) or "none"
    )


def _write(sheet: Image.Image, position: tuple[int, int], text: str, width: int, box: str | None = None) -> int:
    """Write one line of text on a box, without its middle if it is too wide; return its width, pixels."""
    text = short = composed(text)
    font = load_font(TEXT)
    for kept in range(len(text), 2, -1):
        short = text if kept == len(text) else f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            break
    if box:
        ImageDraw.Draw(sheet).rectangle((*position, position[0] + font.getlength(short), position[1] + LINE - 3), fill=box)
    ImageDraw.Draw(sheet).text(position, short, fill="white", font=font)
    return int(font.getlength(short))


def _draw_legend(names: dict[int, str], width: int) -> Image.Image:
    """Draw a square of each label's colour beside its name, in as many lines as are needed."""
    legend = Image.new("RGB", (width, LINE * (1 + len(names))))
    x, y = 4, 0
    for label, name in names.items():
        if x > 4 and x + 40 + load_font(TEXT).getlength(name) > width:
            x, y = 4, y + LINE
        ImageDraw.Draw(legend).rectangle((x, y + 3, x + 11, y + 14), fill=colour_of(label))
        x += 34 + _write(legend, (x + 16, y), name, width - 40)
    return legend.crop((0, 0, width, y + LINE if names else 0))


def _choose(prepared: PreparedTarget) -> list[int]:
    """Choose evenly spaced pictures, and from each the window with the largest labelled area."""
    lines = prepared.index.groupby("row", sort=True).indices
    rows = list(lines)
    filled = [row for row in rows if prepared.has_masks and _is_class(prepared.masks[row]).any()] or rows
    chosen = [filled[position] for position in np.linspace(0, len(filled) - 1, COLUMNS * ROWS).astype(int)]
    return [max(lines[row], key=lambda line: _area(prepared, int(line))) for row in dict.fromkeys(chosen)]


def _is_class(mask: np.ndarray) -> np.ndarray:
    return (mask > 0) & (mask != IGNORE)


def _area(prepared: PreparedTarget, line: int) -> int:
    if not prepared.has_masks:
        return 0
    row, top, left, height, width = prepared.index.loc[line, ["row", "top", "left", "height", "width"]].astype(int)
    return int(np.count_nonzero(_is_class(prepared.masks[row, top : top + height, left : left + width])))


def _enlarge(image: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    """Enlarge an image to one cell of the sheet, and outline every class of its mask, on black so that no colour hides it."""
    from scipy.ndimage import binary_dilation

    large = np.array(Image.fromarray(np.ascontiguousarray(to_colours(image))).resize((CELL, CELL), Image.Resampling.BILINEAR))
    if mask is None:
        return Image.fromarray(large)
    labels = np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize((CELL, CELL), Image.Resampling.NEAREST))
    padded = np.pad(labels, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    border = (labels > 0) & np.any([labels != neighbour for neighbour in neighbours], axis=0)
    large[binary_dilation(border, iterations=2) & (labels == 0)] = 0
    for label in np.unique(labels[border]).tolist():
        large[binary_dilation(border & (labels == label)) & (labels == label)] = ImageColor.getrgb(colour_of(label))
    return Image.fromarray(large)
