"""Matplotlib figures and markers as SVG elements inside an HTML page."""

import re
from functools import cache
from html import escape
from io import StringIO

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch
from matplotlib.transforms import Affine2D

from medtransfer.selectors.marks import Mark

REPLACED = (  # parts of matplotlib's SVG that a page does not need
    (r"<!--.*?-->|\n\s*", ""),
    (r'<g id="[^"]*"', "<g"),
    (r' (?:clip-path="[^"]*"|transform="rotate\(-?0 [^"]*")', ""),
    (r'font-family: [^;"]*(?:; )?', ""),  # text inherits the page's font
    (r"<g/>", ""),
    (r"""<a xlink:href=(["'])(.*?)\1 target="_blank">""", r"<g><title>\2</title>"),
    ("</a>", "</g>"),
    ("xlink:href", "href"),
)


def blank(width: float, height: float) -> Figure:
    """Return an empty figure whose points are pixels of the page."""
    return Figure(figsize=(width / 72, height / 72), frameon=False)


def to_svg(figure: Figure, title: str = "") -> Markup:
    """Write a figure as an SVG element that scales with its box; equal figures give equal bytes.

    The url of an artist becomes its tooltip. Nothing is clipped.

    Args:
        figure: figure from `blank`.
        title: title for screen readers; a figure without one is hidden from them. On one page, titles or sizes must differ.
    """
    width, height = 72 * figure.get_size_inches()
    written = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{title} {width:g}"}):  # ids are distinct within a page
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    body = text[text.index("<g id=") : text.rindex("</g>") + len("</g>")]
    for pattern, replacement in REPLACED:
        body = re.sub(pattern, replacement, body)
    body = re.sub(r' (d|x|y|style)="([^"]*)"', _attribute, body)
    named = f'role="img"><title>{escape(title)}</title>' if title else 'aria-hidden="true">'
    return Markup(f'<svg viewBox="0 0 {width:g} {height:g}" width="100%" {named}{body}</svg>')


def _attribute(match: re.Match[str]) -> str:
    if match[1] == "style":
        return f' style="{match[2].replace(": ", ":").replace("; ", ";")}"'
    return f' {match[1]}="{re.sub(r"-?[0-9.]+", lambda number: f"{float(number[0]):z.1f}".removesuffix(".0"), match[2])}"'


@cache
def icon(mark: Mark, filled: bool = True) -> Markup:
    """Draw a single marker, 14 px wide, for legends and tables."""
    style, figure = MarkerStyle(mark.marker), blank(14, 14)
    outline = style.get_path().transformed(style.get_transform() + Affine2D().scale(9 / 14).translate(0.5, 0.5))
    figure.add_artist(PathPatch(outline, edgecolor=mark.colour, facecolor=mark.colour if filled else "none", linewidth=1.2))
    return to_svg(figure)
