"""The pictures: marks where the numbers are, nothing outside, no label over another."""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random
from xml.etree import ElementTree

import pytest

from medtransfer.analysis.model import Analysis, Judged, Summary
from medtransfer.report.plots import by_epoch, cost
from medtransfer.report.plots.label_placement import place_labels, spaced
from medtransfer.report.plots.svg import OUTLINES, Scale, decimals, drawing, mark, polyline, text, ticks
from medtransfer.selectors.marks import Mark
from medtransfer.selectors.selectors import FULL, SELECTORS, fixed

Make = Callable[..., Analysis]


def parse(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def circles(picture: str, kind: str) -> list[tuple[float, float]]:
    return [
        (float(one.get("cx", "")), float(one.get("cy", ""))) for one in parse(picture).iter("circle") if one.get("class") == kind
    ]


def words_of(picture: str) -> list[str]:
    return [one.text or "" for one in parse(picture).iter("text")]


def test_a_scale_is_a_straight_line():
    up = Scale(0.5, 1.0, 200, 100)
    assert (up(0.5), up(0.75), up(1.0)) == (200, 150, 100)
    assert Scale(0.3, 0.3, 0, 10)(0.3) == 5


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 1.0, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.71, 0.79, 4, [0.72, 0.74, 0.76, 0.78]),
        (3.0, 3.0, 4, [3.0]),
        (0, 300, 4, [0, 100, 200, 300]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, most: int, expected: list[float]):
    assert ticks(low, high, most) == pytest.approx(expected)


def test_ticks_of_any_range_are_few_and_inside():
    random = Random(2)
    for _ in range(300):
        low = random.uniform(-1, 1)
        high = low + 10 ** random.uniform(-4, 3)
        found = ticks(low, high, 4)
        assert 1 <= len(found) <= 4
        assert low - 1e-9 <= found[0] <= found[-1] <= high + 1e-9


def test_ticks_are_told_apart_by_their_decimals():
    assert decimals([0.1, 0.2]) == 2
    assert decimals([0.7125, 0.715]) == 4


@pytest.mark.parametrize("marker", OUTLINES)
def test_every_marker_has_an_outline_of_its_own(marker: str):
    others = {mark(Mark("#000000", other), 0, 0) for other in OUTLINES if other != marker}
    assert mark(Mark("#000000", marker), 0, 0) not in others
    drawn = mark(Mark("#123456", marker), 5, 5, 4, "a < b")
    assert parse(drawing(10, 10, "t", drawn)).findtext("path/title") == "a < b"
    assert 'fill="#123456"' in drawn


def test_texts_are_escaped():
    assert text(1, 2, "<b>&", "m") == '<text x="1" y="2" class="m">&lt;b&gt;&amp;</text>'
    assert polyline([(1, 2)], "rob") == ""


def test_dots_stand_where_the_dice_are(small: Analysis):
    one = small.judged[0]
    picture = by_epoch.dice_by_epoch(one)
    dots = sorted(circles(picture, "near") + circles(picture, "far"))
    assert len(dots) == len(one.candidates)
    assert len(circles(picture, "near")) == sum(point.within_noise for point in one.candidates)
    heights = [-y for _, y in dots]
    assert sorted(range(4), key=heights.__getitem__) == sorted(range(4), key=lambda i: one.candidates[i].mean)
    steps = [after[0] - before[0] for before, after in zip(dots, dots[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)  # equal distances
    assert [word for word in words_of(picture) if word.isdigit()] == ["10", "5", "1", "0"]


def test_the_choices_are_marked_at_their_epochs(make: Make):
    one = make(1, 5).judged[0]
    marks = by_epoch.chosen(one)
    picture = by_epoch.dice_by_epoch(one)
    places = dict(
        zip((point.key for point in one.candidates), sorted(circles(picture, "near") + circles(picture, "far")), strict=True)
    )
    for name, epoch in marks.items():
        found = re.search(
            rf'fill="{SELECTORS[name].mark.colour}" transform="translate\(([\d.]+) [\d.]+\)"[^>]*>'
            rf"<title>{SELECTORS[name].label}: epoch {epoch}<",
            picture,
        )
        assert found, name
        assert abs(float(found[1]) - places[epoch][0]) <= 12
    assert set(marks) == {"offline", "online", "oracle"}


def test_marks_of_one_epoch_stand_side_by_side(small: Analysis):
    one = small.judged[0]
    same = replace(one, verdicts=tuple(replace(v, candidate=5) for v in one.verdicts))
    places = [float(x) for x in re.findall(r"translate\(([\d.]+)", by_epoch.dice_by_epoch(same))]
    assert sorted(places) == pytest.approx([min(places), min(places) + 12, min(places) + 24])


def test_without_robustness_there_is_no_strip(broken: Analysis, small: Analysis):
    assert "robustness" not in words_of(by_epoch.dice_by_epoch(broken.judged[0]))
    assert "robustness" in words_of(by_epoch.dice_by_epoch(small.judged[0]))


def test_no_line_leads_across_a_checkpoint_without_robustness(make: Make):
    one = make(1, 2, (0, 1, 5, 10, 20)).judged[0]
    gap = replace(one, candidates=tuple(replace(p, scores={}) if p.key == 5 else p for p in one.candidates))
    drawn = [path for path in parse(by_epoch.dice_by_epoch(gap)).iter("path") if path.get("class") == "rob"]
    lines = [path.get("d", "") for path in drawn if (path.get("d") or "").count(" ") == 2]
    assert len(circles(by_epoch.dice_by_epoch(gap), "dot")) == 4
    assert sum(re.sub(r"[\d. ]", "", d) == "ML" for d in lines) == len(lines)
    assert len(lines) == 4 + 2  # an interval for each, and two lines


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("epochs", [(0, 1), tuple(range(12)), (0, 5000, 10000, 20000, 40000)])
def test_any_configuration_is_drawn(make: Make, seeds: int, epochs: tuple[int, ...]):
    picture = by_epoch.dice_by_epoch(make(1, seeds, epochs).judged[0])
    assert "nan" not in picture
    assert ("band" in picture) == (seeds > 1)
    assert str(epochs[-1]) in words_of(picture)


@pytest.mark.parametrize("count", [0, 1])
def test_few_checkpoints_are_drawn(small: Analysis, count: int):
    one = replace(small.judged[0], candidates=small.judged[0].candidates[:count], verdicts=())
    picture = by_epoch.dice_by_epoch(one)
    assert len(circles(picture, "near") + circles(picture, "far")) == count
    assert ("nothing was fine-tuned" in words_of(picture)) == (count == 0)


def test_equal_values_do_not_divide_by_zero(small: Analysis):
    equal = {"mean": 0.0, "std": 0.0, "scores": {"robustness": 0.5}, "score_intervals": {}}
    points = tuple(replace(p, **equal) for p in small.judged[0].candidates)
    assert "nan" not in by_epoch.dice_by_epoch(replace(small.judged[0], candidates=points))


def all_pictures(analysis: Analysis) -> list[str]:
    found: list[Judged] = list(analysis.judged)
    return [
        *(by_epoch.dice_by_epoch(one) for one in found),
        *(cost.cost_front(analysis.summaries, width, 400) for width in (380, 800)),
    ]


def test_every_picture_scales_and_says_what_it_shows(paperlike: Analysis, broken: Analysis):
    for picture in all_pictures(paperlike) + all_pictures(broken):
        root = parse(picture)
        assert root.get("viewBox") and root.get("width") == "100%" and root.get("role") == "img"
        assert root.findtext("title")


def test_the_front_joins_fixed_lengths_and_marks_the_others(paperlike: Analysis):
    picture = cost.cost_front(paperlike.summaries, 800, 400)
    assert len(circles(picture, "near")) == 10  # none and nine fixed lengths
    chosen = {summary.selector.name for summary in paperlike.summaries if summary.selector.length is None}
    marked = {name.replace("-", " ") for name in chosen} - {"full", "oracle"}
    assert marked <= set(words_of(picture))
    assert "full" not in words_of(picture)  # it is the last fixed length
    assert picture.count('class="bar"') == len(marked)  # an interval for each mark


def test_between_fixed_lengths_the_curve_is_straight_in_epochs():
    lengths = [Summary(fixed(cost), 2, tis, None, tis, 0.0, float(cost), 0.0, None) for cost, tis in ((0, 0.5), (100, 1.0))]
    across, up = Scale(0, 10, 0, 100), Scale(0, 1, 0, 100)
    points = cost._curve(lengths, across, up)
    assert (50.0, 62.5) in points  # 25 of 100 epochs: half the axis of square roots, a quarter of the gain
    assert points[-1] == (100.0, 100.0)


def test_a_last_checkpoint_that_is_no_fixed_length_is_marked(paperlike: Analysis):
    moved = tuple(replace(one, mean_epochs=222.0) if one.selector == FULL else one for one in paperlike.summaries)
    assert "full" in words_of(cost.cost_front(moved, 800, 400))


def test_an_empty_front_is_no_picture():
    assert cost.cost_front((), 800, 400) == ""


def test_names_never_cover_each_other():
    random = Random(4)
    for _ in range(100):
        anchors = [(f"name {place}", random.uniform(120, 300), random.uniform(60, 250)) for place in range(5)]
        boxes = [one.box for one in place_labels(anchors, [(100, 100, 300, 110)], (50, 20, 400, 300))]
        for place, one in enumerate(boxes):
            assert 50 <= one[0] < one[2] <= 400 and 20 <= one[1] < one[3] <= 300
            for other in boxes[:place]:
                assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_name_stands_beside_a_lone_point_without_a_line():
    (one,) = place_labels([("online", 100, 100)], [], (0, 0, 300, 300))
    assert (one.far, one.box[0] > 100) == (False, True)


def test_names_in_a_column_keep_their_distance():
    assert spaced([10, 10, 50], 16) == pytest.approx([10 - 16 / 3, 26 - 16 / 3, 50 - 16 / 3])
    assert spaced([], 16) == []


def test_a_whisker_shows_value_interval_and_zero():
    picture = cost.whisker(0.5, (0.25, 1.0), 0.0, 1.0, 0.0)
    assert [one.get("cx") for one in parse(picture).iter("circle")] == ["70"]
    assert [one.get("d") for one in parse(picture).iter("path")] == ["M6 1L6 15", "M38 8L134 8"]
    assert parse(picture).findtext("title") == "0.500 (0.250 – 1.000)"
    assert len(list(parse(cost.whisker(0.5, None, 0, 1)).iter("path"))) == 0
