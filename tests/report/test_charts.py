"""The figures: what a reader must find, read back from matplotlib's artists, and their SVG on the page."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from medtransfer.analysis.model import Analysis, Judged, Summary
from medtransfer.analysis.starts import Compared, Start, StartComparison
from medtransfer.report import page, page_sections
from medtransfer.report.plots import by_epoch, cost, figure, initialisations
from medtransfer.report.plots.area import Area
from medtransfer.report.plots.inline import blank, icon, to_svg
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLUE, Mark
from medtransfer.selectors.selectors import FULL, ORACLE, SELECTORS, fixed
from medtransfer.tasks import TASKS

pytestmark = pytest.mark.long

Make = Callable[..., Analysis]
Drawn = TypeVar("Drawn", bound=Artist)


def panel(judged: Judged) -> list[Area]:
    return by_epoch.draw_panel(blank(by_epoch.WIDTH, by_epoch.HEIGHT), judged)


def front(summaries: tuple[Summary, ...], width: float = 800) -> Figure:
    drawn = blank(width, 400)
    cost.draw_front(drawn, *cost.fixed_and_picks(summaries))
    return drawn


def titled(lines: Iterable[Line2D]) -> dict[str, Line2D]:
    return {url: line for line in lines if (url := line.get_url())}


def drawn_as(kind: type[Drawn], area: Area) -> list[Drawn]:
    return [artist for artist in area.artists if isinstance(artist, kind)]


def dots(area: Area) -> PathCollection:
    (found,) = drawn_as(PathCollection, area)
    return found


def curve(area: Area) -> Line2D:
    (found,) = [line for line in drawn_as(Line2D, area) if len(np.asarray(line.get_xdata())) > 2]
    return found


def epoch_labels(area: Area) -> list[Text]:
    return [text for text in drawn_as(Text, area) if text.get_verticalalignment() == "top"]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def test_dots_are_at_the_dice_and_filled_within_noise(small: Analysis):
    judged = small.judged[0]
    dice = dots(panel(judged)[0])
    assert np.asarray(dice.get_offsets()) == pytest.approx(np.array([[i, c.mean] for i, c in enumerate(judged.candidates)]))
    assert [to_hex(face) == BLUE.lower() for face in dice.get_facecolors()] == [c.within_noise for c in judged.candidates]
    for candidate, words in zip(judged.candidates, dice.get_urls(), strict=True):
        assert words.startswith(f"epoch {candidate.key}: Dice {candidate.mean:.3f} ± {candidate.std:.3f}, 2 seeds; interval ")
        assert f"robustness {candidate.robustness:.3f}" in words


def test_the_band_is_one_standard_deviation(small: Analysis):
    candidates = small.judged[0].candidates
    (band,) = drawn_as(Polygon, panel(small.judged[0])[0])
    edges = {tuple(vertex) for vertex in np.round(band.get_xy(), 9)}
    assert edges == {(i, round(c.mean + sign * c.std, 9)) for i, c in enumerate(candidates) for sign in (-1, 1)}


def test_the_band_ends_at_the_range_of_the_metric(small: Analysis):
    """Dice of 0.03 ± 0.08 and 0.95 ± 0.08 would reach -0.05 and 1.03; the axis shows no value beyond 0 and 1, either."""
    judged = small.judged[0]
    means = [0.03, *(0.5 for _ in judged.candidates[2:]), 0.95]
    candidates = tuple(replace(c, mean=mean, std=0.08) for c, mean in zip(judged.candidates, means, strict=True))
    upper = panel(replace(judged, candidates=candidates))[0]
    (band,) = drawn_as(Polygon, upper)
    heights = band.get_xy()[:, 1]
    assert heights.min() == 0 and heights.max() == 1 and 0.11 in np.round(heights, 9) and 0.87 in np.round(heights, 9)
    assert all(0 <= float(text.get_text()) <= 1 for text in drawn_as(Text, upper))


def test_robustness_and_its_intervals_are_below(small: Analysis):
    candidates = small.judged[0].candidates
    lower = panel(small.judged[0])[1]
    assert curve(lower).get_ydata() == pytest.approx([c.robustness for c in candidates])
    (bars,) = drawn_as(LineCollection, lower)
    expected = [[[i, bound] for bound in c.robustness_interval or ()] for i, c in enumerate(candidates)]
    assert np.array(bars.get_segments()) == pytest.approx(np.array(expected))


def test_every_choice_is_marked_once_at_its_epoch(make: Make):
    judged = make(1, 5).judged[0]
    marks = titled(drawn_as(Line2D, panel(judged)[0]))
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
    upper, lower = panel(judged)
    keys = [candidate.key for candidate in judged.candidates]
    for name in ("offline", "online"):
        (line,) = [one for one in drawn_as(Line2D, upper) if one.get_color() == SELECTORS[name].mark.colour and not one.get_url()]
        assert line.get_linestyle() == SELECTORS[name].mark.line
        (x, low), (_, high) = line.get_transform().transform(line.get_xydata())
        assert low == pytest.approx(lower.shares.transform((0, 0))[1]) and high > upper.shares.transform((0, 1))[1]
        assert x == pytest.approx(upper.data.transform((keys.index(judged.by_selector[name].candidate), 0))[0], abs=6)


def test_marks_of_one_epoch_are_side_by_side(small: Analysis):
    judged = small.judged[0]
    same = replace(judged, verdicts=tuple(replace(verdict, candidate=5) for verdict in judged.verdicts))
    marks = titled(drawn_as(Line2D, panel(same)[0])).values()
    pixels = sorted(mark.get_transform().transform(mark.get_xydata())[0, 0] * 72 / 100 for mark in marks)
    assert np.diff(pixels) == pytest.approx([12, 12])


def test_every_epoch_of_the_paper_is_labelled(make: Make):
    labels = epoch_labels(panel(make(1, 2).judged[0])[-1])
    assert [text.get_text() for text in labels] == ["300", "250", "200", "150", "100", "50", "20", "5", "1", "0"]


def test_many_epochs_are_labelled_from_the_last_where_there_is_room(make: Make):
    labels = epoch_labels(panel(make(1, 2, tuple(range(1000, 1030))).judged[0])[-1])
    assert labels[0].get_text() == "1029" and 5 < len(labels) < 12
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for right, left in zip(boxes, boxes[1:], strict=False))


def test_without_robustness_dice_fills_the_panel(broken: Analysis, small: Analysis):
    (alone,) = panel(broken.judged[0])
    above, _ = panel(small.judged[0])
    assert alone.shares.transform((0, 0))[1] < above.shares.transform((0, 0))[1]
    assert "robustness" not in texts(by_epoch.dice_by_epoch(broken.judged[0]))
    assert "robustness" in texts(by_epoch.dice_by_epoch(small.judged[0]))


def test_no_line_crosses_a_checkpoint_without_robustness(make: Make):
    judged = make(1, 2, (0, 1, 5, 10, 20)).judged[0]
    gap = replace(
        judged, candidates=tuple(replace(c, scores={}, score_intervals={}) if c.key == 5 else c for c in judged.candidates)
    )
    lower = panel(gap)[1]
    assert np.isnan(curve(lower).get_ydata()).tolist() == [False, False, True, False, False]
    assert [len(bars.get_segments()) for bars in drawn_as(LineCollection, lower)] == [4]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("epochs", [(0, 1), tuple(range(12)), (0, 5000, 10000, 20000, 40000)])
def test_any_configuration_is_drawn(make: Make, seeds: int, epochs: tuple[int, ...]):
    judged = make(1, seeds, epochs).judged[0]
    svg = by_epoch.dice_by_epoch(judged)
    assert "nan" not in svg
    assert len(drawn_as(Polygon, panel(judged)[0])) == (1 if seeds > 1 else 0)  # the band
    assert str(epochs[-1]) in texts(svg)


@pytest.mark.parametrize(("count", "apart"), [(12, True), (60, True), (90, True), (501, False)])
def test_dots_of_many_checkpoints_are_small(make: Make, count: int, apart: bool):
    """They do not overlap where that is possible; labels are round numbers where each but a few has none."""
    judged = make(1, 1, tuple(range(count))).judged[0]
    drawn = blank(by_epoch.WIDTH, by_epoch.HEIGHT)
    drawn_dots = dots(by_epoch.draw_panel(drawn, judged)[0])
    places = drawn_dots.get_offset_transform().transform(drawn_dots.get_offsets())
    ((size),) = drawn_dots.get_sizes()
    diameter = (sqrt(size) + drawn_dots.get_linewidths()[0]) * drawn.dpi / 72
    assert (diameter < np.diff(places[:, 0]).min()) == apart and sqrt(size) >= 2
    if count == 501:
        assert set(map(str, range(0, 501, 50))) <= set(texts(by_epoch.dice_by_epoch(judged)))


@pytest.mark.parametrize("count", [0, 1])
def test_few_checkpoints_are_drawn(small: Analysis, count: int):
    judged = replace(small.judged[0], candidates=small.judged[0].candidates[:count], verdicts=())
    assert [len(dots(area).get_offsets()) for area in panel(judged)[:1]] == [1] * count
    assert ("nothing was fine-tuned" in texts(by_epoch.dice_by_epoch(judged))) == (count == 0)


def test_equal_values_are_drawn(small: Analysis):
    equal = {"mean": 0.0, "std": 0.0, "scores": {"robustness": 0.5}, "score_intervals": {}}
    candidates = tuple(replace(candidate, **equal) for candidate in small.judged[0].candidates)
    assert "nan" not in by_epoch.dice_by_epoch(replace(small.judged[0], candidates=candidates))


@pytest.mark.parametrize("values", [[0.7, 0.85, 0.8], [0.31, 0.305, 0.3068], [0.0, 0.0, 0.0], [0.5], [3.2, 41.7, 12.0]])
def test_an_area_has_the_range_the_lines_and_the_labels_of_axes(values: list[float]):
    """Matplotlib's own axes at the same place, with the same style."""
    one, other = blank(320, 232), blank(320, 232)
    axes = one.add_axes((0.125, 0.2, 0.8, 0.6))
    frame(axes, 4)
    axes.plot(values)
    one.canvas.draw()
    area = Area(other, Bbox([[0.125, 0.2], [0.925, 0.8]]), range(len(values)), values, 4)
    other.canvas.draw()
    assert (*area.view.min, *area.view.max) == pytest.approx((*axes.viewLim.min, *axes.viewLim.max))
    assert area.data.transform((0, 0)) == pytest.approx(axes.transData.transform((0, 0)))
    low, high = axes.get_ylim()
    expected = [label for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    labels = drawn_as(Text, area)
    assert len(labels) > 1 and [text.get_text() for text in labels] == [text.get_text() for text in expected]
    assert [line.get_ydata()[0] for line in drawn_as(Line2D, area)] == [text.get_position()[1] for text in expected]
    for text, same in zip(labels, expected, strict=True):
        assert text.get_window_extent().extents == pytest.approx(same.get_window_extent().extents)


@pytest.mark.parametrize(
    ("values", "labels"),
    [([math.nan, 0.2, 0.4], ["0.2", "0.3", "0.4"]), ([1e-7, 3e-7], ["0.0000001", "0.0000002", "0.0000003"])],
)
def test_values_that_are_not_finite_or_tiny_are_labelled(values: list[float], labels: list[str]):
    area = Area(blank(320, 232), Bbox([[0.125, 0.2], [0.925, 0.8]]), range(len(values)), values, 4)
    assert [text.get_text() for text in drawn_as(Text, area)] == labels
    assert drawn_as(Text, Area(blank(320, 232), Bbox([[0, 0], [1, 1]]), [0], [math.nan], 4))


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
    marks = titled(axes.lines)
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
    labels = front(others).axes[0].get_xticklabels()
    assert labels[0].get_text() == "300" and len(labels) > 2


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
    assert sizes == [(598, 585), (1794, 5700)]  # 4.6 inches a column, 3.6 a row, .15 + .25 per line of the legend, at 130 dpi


@pytest.mark.parametrize(("seeds", "said"), [(2, ["epoch 0: by its own seeds"]), (3, [])])
def test_the_legend_says_why_epoch_0_may_be_within_noise_far_below(seeds: int, said: list[str], make: Make):
    judged = make(1, seeds, (0, 1, 5)).judged[0]
    noisy, *others = judged.candidates
    noisy = replace(noisy, within_noise=True, mean=0.2)
    below = replace(judged, candidates=(noisy, *(replace(other, mean=0.5, within_noise=other.key == 5) for other in others)))
    assert by_epoch.Drawn.of([below]).near == ("within noise of the best", *said)
    best = replace(below, candidates=(replace(noisy, mean=0.6), *below.candidates[1:]))
    assert by_epoch.Drawn.of([best]).near == ("within noise of the best",)


def test_the_legend_does_not_call_results_of_a_single_seed_near_the_best(make: Make):
    alone, several = make(1, 1, (0, 1, 5)).judged[0], make(1, 2, (0, 1, 5)).judged[0]
    assert (by_epoch.Drawn.of([alone]).near, by_epoch.Drawn.of([alone]).far) == (("with too few seeds: not tested",), "")
    assert by_epoch.Drawn.of([alone, several]).near[0] == "within noise of the best"
    assert "with too few seeds: not tested" in by_epoch.Drawn.of([alone, several]).near
    assert "with too few seeds: not tested" not in by_epoch.Drawn.of([several]).near


def test_the_legend_of_the_png_explains_the_dots():
    drawn = by_epoch.Drawn((ORACLE,), ("within noise of the best", "epoch 0"), "not within noise of the best", True)
    labels = {str(handle.get_label()): handle for handle in figure._handles(drawn, more=3)}
    assert labels["not within noise of the best"].get_markerfacecolor() == "white"
    assert labels["within noise of the best"].get_markerfacecolor() == labels["within noise of the best"].get_color()
    assert labels.keys() == {
        "best in hindsight", "within noise of the best", "epoch 0", "not within noise of the best", "3 more configurations",
    }  # fmt: skip
    assert len(figure._handles(drawn, more=0)) == 4


def test_the_legend_of_the_page_is_that_of_its_panels(make: Make):
    """A single checkpoint with robustness has no panel beside a series without."""
    analysis = make(2, 2, (0, 1, 5))
    single, series = analysis.judged
    unscored = replace(series, candidates=tuple(replace(candidate, scores={}) for candidate in series.candidates))
    shown = page.render(replace(analysis, judged=(replace(single, candidates=single.candidates[:1]), unscored)), "A report")
    legend = shown[shown.index('class="legend"') :]
    assert (
        "within noise of the best" in legend[: legend.index("</ul>")] and "robustness</li>" not in legend[: legend.index("</ul>")]
    )


def test_legends_explain_only_what_is_drawn(paperlike: Analysis, tmp_path: Path):
    """Without scores nothing is chosen by robustness, and no robustness drawn; nor is any dot hollow."""
    whole = by_epoch.Drawn.of(paperlike.judged)
    assert whole.robustness and [selector.name for selector in whole.choices] == ["offline", "online", "oracle"]
    pool = paperlike.judged[0]
    near = tuple(replace(candidate, scores={}, within_noise=True) for candidate in pool.candidates)
    best = replace(pool, candidates=near, verdicts=tuple(each for each in pool.verdicts if each.selector is ORACLE))
    drawn = by_epoch.Drawn.of([best])
    assert (drawn.choices, drawn.far, drawn.robustness) == ((ORACLE,), "", False)
    page = page_sections.legend("Dice", drawn)
    assert "best Dice" in page and "chosen by" not in page and "robustness" not in page and "not within" not in page
    assert [str(handle.get_label()) for handle in figure._handles(drawn, 0)] == ["best in hindsight", "within noise of the best"]
    assert by_epoch.Drawn.of(figure.with_curves([replace(pool, candidates=pool.candidates[:1]), best])).robustness is False
    drawn_by_lot = replace(best, verdicts=(replace(best.verdicts[0], candidate=None),))
    assert by_epoch.Drawn.of([drawn_by_lot]).choices == ()
    nothing = replace(best, candidates=(), verdicts=())
    assert by_epoch.Drawn.of([nothing]) == by_epoch.Drawn((), (), "", False)
    figure.draw(tmp_path / "nothing.png", [nothing])


def started(name: str, values: tuple[float, ...], kept: bool | None) -> Compared:
    start = Start(name, "unet", "", 1, {"": dict(enumerate(values))}, {})
    return Compared(
        start, float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, None, None, None, kept
    )


def comparison(rows: tuple[Compared, ...], target: str = "heart") -> StartComparison:
    return StartComparison(target, "full", "", "", TASKS["segmentation"].primary, rows)


def dots_of(axes: Axes) -> PathCollection:
    (found,) = (each for each in axes.collections if isinstance(each, PathCollection))
    return found


def test_initialisations_are_drawn_from_the_best_to_the_worst_with_every_result():
    rows = (
        started("best", (0.9, 1.0), True),
        started("worse, with a long name of its own, epoch 300", (0.5, 0.7), False),
        started("random", (0.4,), None),
    )
    drawn = blank(initialisations.WIDTH, 200)
    initialisations.draw_rows(drawn, comparison(rows))
    (axes,) = drawn.axes
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [row.start.name for row in rows]
    places = axes.get_yticks()
    assert list(places) == sorted(places, reverse=True)
    means, (bars,) = dots_of(axes), (each for each in axes.collections if isinstance(each, LineCollection))
    assert np.asarray(means.get_offsets()).tolist() == [
        pytest.approx([mean, place]) for mean, place in zip([0.95, 0.6, 0.4], places, strict=True)
    ]  # fmt: skip
    assert [to_hex(face) for face in means.get_facecolors()] == [to_hex(BLUE), "#ffffff", to_hex(BLUE)]
    (rings,) = axes.get_lines()
    assert sorted(zip(rings.get_xdata(), rings.get_ydata(), strict=True)) == sorted(
        [(0.9, places[0]), (1.0, places[0]), (0.5, places[1]), (0.7, places[1]), (0.4, places[2])]
    )
    spreads = {float(line[0][1]): [float(point[0]) for point in line] for line in bars.get_segments()}
    assert spreads[places[0]] == pytest.approx([0.95 - sqrt(0.005), 1.0])  # no Dice is above 1
    assert spreads[places[1]] == pytest.approx([0.6 - sqrt(0.02), 0.6 + sqrt(0.02)])


def test_pictures_of_many_initialisations_say_what_they_leave_out(tmp_path: Path):
    many = tuple(started(f"start {number}", (0.9 - number / 100, 0.8 - number / 100), True) for number in range(43))
    drawn = blank(initialisations.WIDTH, 900)
    initialisations.draw_rows(drawn, comparison(many))
    assert len(drawn.axes[0].get_yticks()) == 15 and "and 28 more" in [text.get_text() for text in drawn.texts]
    initialisations.write_png(tmp_path / "few.png", [comparison(many[:2])])
    initialisations.write_png(tmp_path / "many.png", [comparison(many[:2], f"t{number}") for number in range(13)])
    initialisations.write_png(tmp_path / "long.png", [comparison(many, f"t{number}") for number in range(6)])
    initialisations.write_png(tmp_path / "whole.png", [comparison(many, f"t{number}") for number in range(5)])
    few, all_of_them = Image.open(tmp_path / "few.png"), Image.open(tmp_path / "many.png")
    assert Image.open(tmp_path / "long.png").size == Image.open(tmp_path / "whole.png").size  # of 15 rows each
    assert few.width == all_of_them.width
    assert 9.5 < all_of_them.height / few.height < 10  # 12 of the 13, above a line of text
    picture = initialisations.initialisations(comparison(many[:2]))
    assert "start 0: 0.850 ± 0.071 of 2" in picture and "heart, full: test Dice by initialisation" in picture


def test_configurations_of_one_checkpoint_have_no_panel_beside_others(small: Analysis, tmp_path: Path):
    pool = small.judged[0]
    single = replace(pool, candidates=pool.candidates[:1])
    figure.draw(tmp_path / "all.png", [pool])
    figure.draw(tmp_path / "some.png", [single, pool, single])
    figure.draw(tmp_path / "single.png", [single, single])
    sizes = {name: Image.open(tmp_path / f"{name}.png").size for name in ("all", "some", "single")}
    assert sizes["some"][0] == sizes["all"][0] < sizes["single"][0]


@pytest.mark.parametrize(("letters", "lines"), [(5, 1), (120, 6)])
def test_headings_stay_above_their_panels(
    letters: int, lines: int, make: Callable[..., Analysis], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of long names were written over one another."""
    (drawn,) = make(1, 2, (0, 1)).judged
    fields = {**drawn.pool.fields, **dict.fromkeys(("encoder", "origin"), "n" * letters)}
    pool = replace(drawn, pool=replace(drawn.pool, fields=fields))
    figures = list[Figure]()
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: (figures.append(self), save(self, *args, **options)))
    figure.draw(tmp_path / "one.png", [pool, pool, drawn, pool])
    figures[0].draw_without_rendering()  # at its own resolution
    body, _ = figures[0].subfigs
    headings = [cell.subfigs[0] for cell in body.subfigs if cell.subfigs]
    assert len(headings) == 4
    longest = 0
    for heading, name in zip(headings, (pool, pool, drawn, pool), strict=True):
        (text,) = heading.texts
        box = text.get_window_extent()
        assert "".join(text.get_text().split()) == "".join(name.name.split())
        assert heading.bbox.x0 <= box.x0 and box.x1 <= heading.bbox.x1
        assert heading.bbox.y0 <= box.y0 and box.y1 <= heading.bbox.y1
        longest = max(longest, text.get_text().count("\n") + 1)
    assert longest == lines
