"""Elements of an HTML page and the page around them; all texts are escaped."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from medtransfer.report.format import Interval, between, number


@cache
def environment() -> Environment:
    """Return the jinja environment of the package's templates, with autoescaping."""
    loader = PackageLoader("medtransfer.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def document(title: str, body: str) -> str:
    """Render a self-contained page, without external fonts, scripts or pictures.

    Args:
        title: title of the page.
        body: HTML, inserted as it is.
    """
    return environment().get_template("page.html.j2").render(title=title, body=Markup(body))


def table(
    rows: Sequence[Mapping[str, Any]], caption: str = "", left: Collection[str] = (), wrapped: Collection[str] = ()
) -> Markup:
    """Render rows of the same keys as a table that scrolls in its own box; empty for no rows.

    Args:
        rows: cells by heading; the first names the row. Floats have three decimals, None and NaN are dashes, Markup is kept.
        caption: caption above the table.
        left: headings of text columns, aligned to the left; the others are aligned to the right.
        wrapped: headings of columns of long texts, which may wrap.
    """
    if not rows:
        return Markup()
    headings = list(rows[0])
    kinds = [Markup(' class="w"' if name in wrapped else ' class="l"' if name in left else "") for name in headings]
    cells = [[_cell(row[name]) for name in headings] for row in rows]
    return _part("table", headings, cells, kinds, caption)


def figure(picture: str, caption: str = "", small: str = "") -> Markup:
    """Render a picture, given as SVG text, with its caption above."""
    return _part("figure", Markup(picture), caption, small)


def details(summary: str, body: str, small: str = "", opened: bool = False) -> Markup:
    """Render a body, given as HTML, folded below a summary line; `small` is text beside it."""
    return _part("details", summary, small, Markup(body), opened)


def note(text: str) -> Markup:
    """Render a small-print paragraph."""
    return _part("note", with_code(text))


def with_code(text: str) -> Markup:
    """Render what stands between backticks, as in Markdown, as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one of them is no mark
        return Markup(escape(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts))


def definitions(meanings: Mapping[str, str]) -> Markup:
    """Render terms and their meanings."""
    terms = (Markup("<dt>{}</dt><dd>{}</dd>").format(term, meaning) for term, meaning in meanings.items())
    return Markup("<dl>{}</dl>").format(Markup("").join(terms))


def bullets(lines: Sequence[str]) -> Markup:
    """Render a list; empty for no lines."""
    return _part("bullets", [with_code(line) for line in lines]) if lines else Markup()


def whisker(value: float, interval: Interval | None, low: float, high: float, zero: float | None = None) -> Markup:
    """Render a value and its interval as a dot on a line, for a table's cell.

    Args:
        value: value of the dot.
        interval: interval of the line; None for only the dot.
        low: value at the left edge.
        high: value at the right edge.
        zero: value to draw a vertical line at.
    """
    positions = [None if x is None else _percent(x, low, high) for x in (value, *(interval or (None, None)), zero)]
    return _part("whisker", f"{number(value)} ({between(interval)})" if interval else number(value), *positions)


def _percent(value: float, low: float, high: float) -> float:
    """Return the horizontal position of a value in per cent, with a margin of 4 % at both edges."""
    share = (value - low) / (high - low) if high > low else 0.5
    return round(4 + 92 * share, 1)


def _part(name: str, *values: object) -> Markup:
    return _macros()[name](*values)


@cache
def _macros() -> dict[str, Any]:
    return vars(environment().get_template("parts.html.j2").module)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)
