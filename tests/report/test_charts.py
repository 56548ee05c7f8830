"""The figures: what a reader must find, read back from matplotlib's artists, and their SVG on the page."""

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from medtransfer.analysis.model import Analysis, Judged, Summary
from medtransfer.report.plots import by_epoch, cost, figure
from medtransfer.report.plots.inline import blank, icon, to_svg
from medtransfer.selectors.marks import BLUE, Mark
from medtransfer.selectors.selectors import FULL, ORACLE, SELECTORS, fixed

pytestmark = pytest.mark.long

Make = Callable[..., Analysis]


def panel(judged: Judged) -> Figure:
    drawn = blank(by_epoch.WIDTH, by_epoch.HEIGHT)
    by_epoch.draw_panel(drawn, judged)
    return drawn


def front(summaries: tuple[Summary, ...], width: float = 800) -> Figure:
    drawn = blank(width, 400)
    cost.draw_front(drawn, *cost.fixed_and_picks(summaries))
    return drawn


def titled(axes: Axes) -> dict[str, Line2D]:
    return {url: line for line in axes.lines if (url := line.get_url())}


def dots(axes: Axes) -> PathCollection:
    (found,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    return found


def epoch_labels(drawn: Figure) -> list[str]:
    return [label.get_text() for label in drawn.axes[-1].get_xticklabels()]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def test_dots_are_at_the_dice_and_filled_within_noise(small: Analysis):
    judged = small.judged[0]
    dice = dots(panel(judged).axes[0])
    assert np.asarray(dice.get_offsets()) == pytest.approx(np.array([[i, c.mean] for i, c in enumerate(judged.candidates)]))
    assert [to_hex(face) == BLUE.lower() for face in dice.get_facecolors()] == [c.within_noise for c in judged.candidates]
    for candidate, words in zip(judged.candidates, dice.get_urls(), strict=True):
        assert words.startswith(f"epoch {candidate.key}: Dice {candidate.mean:.3f} ± {candidate.std:.3f}, 2 seeds; interval ")
        assert f"robustness {candidate.robustness:.3f}" in words


def test_the_band_is_one_standard_deviation(small: Analysis):
    candidates = small.judged[0].candidates
    (band,) = [artist for artist in panel(small.judged[0]).axes[0].collections if not isinstance(artist, PathCollection)]
    edges = {tuple(vertex) for vertex in np.round(band.get_paths()[0].vertices, 9)}
    assert edges == {(i, round(c.mean + sign * c.std, 9)) for i, c in enumerate(candidates) for sign in (-1, 1)}


def test_robustness_and_its_intervals_are_below(small: Analysis):
    candidates = small.judged[0].candidates
    lower = panel(small.judged[0]).axes[1]
    assert lower.lines[0].get_ydata() == pytest.approx([c.robustness for c in candidates])
    (bars,) = [artist for artist in lower.collections if isinstance(artist, LineCollection)]
    expected = [[[i, bound] for bound in c.robustness_interval or ()] for i, c in enumerate(candidates)]
    assert np.array(bars.get_segments()) == pytest.approx(np.array(expected))


def test_every_choice_is_marked_once_at_its_epoch(make: Make):
    judged = make(1, 5).judged[0]
    marks = titled(panel(judged).axes[0])
    keys = [candidate.key for candidate in judged.candidates]
    names = ("offline", "online", "oracle")
    choices = {name: judged.by_selector[name].candidate for name in names}
    assert set(marks) == {f"{SELECTORS[name].label}: epoch {epoch}" for name, epoch in choices.items()}
    for name, epoch in choices.items():
        mark = marks[f"{SELECTORS[name].label}: epoch {epoch}"]
        assert (mark.get_color(), mark.get_marker()) == (SELECTORS[name].mark.colour, SELECTORS[name].mark.marker)
        assert mark.get_xdata() == [keys.index(epoch)]


def test_lines_lead_from_the_choices_by_robustness_to_the_epochs(make: Make):
    judged = make(1, 5).judged[0]
    upper, lower = panel(judged).axes
    keys = [candidate.key for candidate in judged.candidates]
    for name in ("offline", "online"):
        (line,) = [one for one in upper.lines if one.get_color() == SELECTORS[name].mark.colour and not one.get_url()]
        assert line.get_linestyle() == SELECTORS[name].mark.line
        (x, low), (_, high) = line.get_transform().transform(line.get_xydata())
        assert low == pytest.approx(lower.bbox.y0) and high > upper.bbox.y1
        assert x == pytest.approx(upper.transData.transform((keys.index(judged.by_selector[name].candidate), 0))[0], abs=6)


def test_marks_of_one_epoch_are_side_by_side(small: Analysis):
    judged = small.judged[0]
    same = replace(judged, verdicts=tuple(replace(verdict, candidate=5) for verdict in judged.verdicts))
    marks = titled(panel(same).axes[0]).values()
    pixels = sorted(mark.get_transform().transform(mark.get_xydata())[0, 0] * 72 / 100 for mark in marks)
    assert np.diff(pixels) == pytest.approx([12, 12])


def test_every_epoch_of_the_paper_is_labelled(make: Make):
    assert epoch_labels(panel(make(1, 2).judged[0])) == ["300", "250", "200", "150", "100", "50", "20", "5", "1", "0"]


def test_many_epochs_are_labelled_from_the_last_where_there_is_room(make: Make):
    drawn = panel(make(1, 2, tuple(range(1000, 1030))).judged[0])
    labels = epoch_labels(drawn)
    assert labels[0] == "1029" and 5 < len(labels) < 12
    drawn.canvas.draw()
    boxes = [label.get_window_extent() for label in drawn.axes[-1].get_xticklabels()]
    assert all(left.x1 < right.x0 for right, left in zip(boxes, boxes[1:], strict=False))


def test_without_robustness_dice_fills_the_panel(broken: Analysis, small: Analysis):
    (alone,) = panel(broken.judged[0]).axes
    above, _ = panel(small.judged[0]).axes
    assert alone.get_position().y0 < above.get_position().y0
    assert "robustness" not in texts(by_epoch.dice_by_epoch(broken.judged[0]))
    assert "robustness" in texts(by_epoch.dice_by_epoch(small.judged[0]))


def test_no_line_crosses_a_checkpoint_without_robustness(make: Make):
    judged = make(1, 2, (0, 1, 5, 10, 20)).judged[0]
    gap = replace(
        judged, candidates=tuple(replace(c, scores={}, score_intervals={}) if c.key == 5 else c for c in judged.candidates)
    )
    lower = panel(gap).axes[1]
    assert np.isnan(lower.lines[0].get_ydata()).tolist() == [False, False, True, False, False]
    assert sum(len(artist.get_segments()) for artist in lower.collections if isinstance(artist, LineCollection)) == 4


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("epochs", [(0, 1), tuple(range(12)), (0, 5000, 10000, 20000, 40000)])
def test_any_configuration_is_drawn(make: Make, seeds: int, epochs: tuple[int, ...]):
    judged = make(1, seeds, epochs).judged[0]
    svg = by_epoch.dice_by_epoch(judged)
    assert "nan" not in svg
    assert len(panel(judged).axes[0].collections) == (2 if seeds > 1 else 1)  # the band, and the dots
    assert str(epochs[-1]) in texts(svg)


@pytest.mark.parametrize("count", [0, 1])
def test_few_checkpoints_are_drawn(small: Analysis, count: int):
    judged = replace(small.judged[0], candidates=small.judged[0].candidates[:count], verdicts=())
    assert [len(dots(axes).get_offsets()) for axes in panel(judged).axes[:1]] == [1] * count
    assert ("nothing was fine-tuned" in texts(by_epoch.dice_by_epoch(judged))) == (count == 0)


def test_equal_values_are_drawn(small: Analysis):
    equal = {"mean": 0.0, "std": 0.0, "scores": {"robustness": 0.5}, "score_intervals": {}}
    candidates = tuple(replace(candidate, **equal) for candidate in small.judged[0].candidates)
    assert "nan" not in by_epoch.dice_by_epoch(replace(small.judged[0], candidates=candidates))


def test_the_front_joins_fixed_lengths_straight_in_epochs():
    lengths = [
        Summary(fixed(epoch), 2, 1, tis, None, tis, 0.0, float(epoch), float(epoch), 0.0, None, None)
        for epoch, tis in ((0, 0.5), (100, 1.0))
    ]
    (curve,) = [line for line in front(tuple(lengths)).axes[0].lines if line.get_label() == "fixed lengths"]
    roots, tis = np.asarray(curve.get_xydata()).T
    assert tis == pytest.approx(0.5 + 0.5 * roots**2 / 100)
    assert (roots[0], roots[-1]) == (0, 10)


def test_the_front_shows_every_way_of_choosing_with_its_interval(paperlike: Analysis):
    axes = front(paperlike.summaries).axes[0]
    marks = titled(axes)
    shown = [summary for summary in paperlike.summaries if summary.selector not in (FULL, ORACLE)]
    assert marks.keys() == {cost.described(summary) for summary in shown}
    bars = {(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if not line.get_url()}
    for summary in shown:
        mark = marks[cost.described(summary)]
        (x,), (y,) = mark.get_xdata(), mark.get_ydata()
        assert (mark.get_color(), mark.get_marker()) == (summary.selector.mark.colour, summary.selector.mark.marker) or (
            summary.selector.length is not None and mark.get_color() == BLUE
        )
        assert y == summary.mean_tis and x <= summary.mean_epochs**0.5
        assert ((x, x, *summary.interval) in bars) != summary.selector.further


@pytest.mark.parametrize("width", [380, 800])
def test_the_legend_of_the_front_is_ordered_and_covers_nothing(paperlike: Analysis, width: int):
    drawn = front(paperlike.summaries, width)
    drawn.canvas.draw()
    (legend,) = drawn.legends
    words = [text.get_text() for text in legend.get_texts()]
    values = [float(line.rsplit(" ", 1)[1]) for line in words[2:]]
    assert words[:2] == ["fixed lengths", "2 further ways"] and "robustness, online, keeping the stop" in {
        line.rsplit(" ", 1)[0] for line in words
    }
    assert values == sorted(values, reverse=True)
    box, axes = legend.get_window_extent(), drawn.axes[0]
    assert not box.overlaps(axes.get_tightbbox())
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drawn.bbox.x1


@pytest.mark.parametrize("width", [380, 800])
@pytest.mark.parametrize("tis", [None, 0.9])
def test_marks_cover_no_other_and_are_at_their_cost_where_they_can(paperlike: Analysis, width: int, tis: float | None):
    """A mark is 10 px wide."""
    summaries = tuple(replace(s, mean_tis=tis or s.mean_tis, interval=None) for s in paperlike.summaries)
    axes = front(summaries, width).axes[0]
    marks = [line for line in axes.lines if line.get_markersize() == 10]
    places = np.array([axes.transData.transform(line.get_xydata())[0] for line in marks]) * 72 / 100
    assert len(places) == 7
    for first, second in combinations(places, 2):
        assert np.abs(first - second).max() > 12.9
    costs = [sqrt(summary.mean_epochs) for summary in cost.fixed_and_picks(summaries)[1] if not summary.selector.further]
    moved = [cost - line.get_xdata()[0] for cost, line in zip(costs, marks, strict=True)]
    assert min(moved) >= 0 and moved[0] == 0


def test_a_last_checkpoint_that_is_no_fixed_length_is_marked(paperlike: Analysis):
    moved = tuple(replace(s, mean_epochs=222.0) if s.selector == FULL else s for s in paperlike.summaries)
    assert FULL not in {s.selector for s in cost.fixed_and_picks(paperlike.summaries)[1]}
    assert FULL in {s.selector for s in cost.fixed_and_picks(moved)[1]}


def test_a_front_of_ways_without_fixed_lengths_has_round_epochs(paperlike: Analysis):
    others = tuple(summary for summary in paperlike.summaries if summary.selector.length is None)
    labels = epoch_labels(front(others))
    assert labels[0] == "300" and len(labels) > 2


def test_an_empty_front_is_no_picture():
    assert cost.cost_front((), 800, 400) == ""


def test_the_svg_scales_says_what_it_shows_and_needs_no_font(paperlike: Analysis, broken: Analysis):
    pools = [*paperlike.judged[:3], *broken.judged]
    pictures = [by_epoch.dice_by_epoch(judged) for judged in pools]
    pictures += [cost.cost_front(paperlike.summaries, width, 400) for width in (380, 800)]
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("viewBox") and root.get("width") == "100%" and root.get("role") == "img"
        assert root.findtext("title")
        assert not re.search(r"font-family|clip-path|metadata|xlink|<a |<!", picture)
    assert max(len(picture.encode()) for picture in pictures[:-2]) < 12_000
    assert max(len(picture.encode()) for picture in pictures) < 20_000


def test_tooltips_and_titles_are_escaped_and_bytes_repeat():
    def drawn(title: str) -> str:
        picture = blank(20, 20)
        picture.add_artist(Line2D([0.5], [0.5], marker="o", linestyle="", url='a < "b"'))
        return to_svg(picture, title)

    assert drawn("x < y") == drawn("x < y")
    root = ElementTree.fromstring(drawn("x < y"))
    assert [element.text for element in root.iter("title")] == ["x < y", 'a < "b"']
    ids = [[element.get("id") for element in ElementTree.fromstring(drawn(title)).iter("path")] for title in "xy"]
    assert ids[0] != ids[1]


def test_icons_have_the_shapes_and_colours_of_the_selectors():
    marks = {selector.mark for selector in SELECTORS.values()}
    assert len({icon(mark) for mark in marks}) == len(marks)
    for mark in marks:
        root = ElementTree.fromstring(icon(mark))
        assert root.get("aria-hidden") == "true"
        assert mark.colour.lower() in icon(mark)
    assert "fill:none" in icon(Mark(BLUE, "o"), filled=False)


def test_the_png_has_at_most_36_panels(tmp_path: Path, make: Make):
    figure.draw(tmp_path / "one.png", make(1, 2).judged)
    figure.draw(tmp_path / "many.png", make(37, 2, (0, 1)).judged)
    sizes = [Image.open(BytesIO((tmp_path / name).read_bytes())).size for name in ("one.png", "many.png")]
    assert sizes == [(598, 520), (1794, 5668)]
