"""The page: complete, self-contained, escaped, fast, and the same for the same analysis."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup

from medtransfer.analysis.model import Analysis
from medtransfer.records.feature_map import FeatureMap
from medtransfer.records.similarity import Similarity
from medtransfer.report import feature_maps, html, lineage_text, page, page_sections, similarities
from medtransfer.report.plots.figure import MOST_PANELS
from medtransfer.tasks.contract import Metric

pytestmark = pytest.mark.long

Make = Callable[..., Analysis]
VOID = {"meta", "br", "link", "img"}


class Outline(HTMLParser):
    """Collect headings, tags and texts of a page, and check that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def small_page(small: Analysis) -> str:
    return page.render(small, "T")


@pytest.fixture(scope="module")
def paperlike_page(paperlike: Analysis) -> str:
    return page.render(paperlike, "T")


@pytest.fixture(scope="module")
def broken_page(broken: Analysis) -> str:
    return page.render(broken, "<T> & co")


def test_order_of_the_sections(paperlike_page: str, broken_page: str):
    html = paperlike_page
    assert outline(html).headings == [
        "What each way of choosing costs, and keeps", "In numbers", "Dice by pretraining epoch", "Everything else",
    ]  # fmt: skip
    verdict, tis, robustness = (html.index(words) for words in ('class="verdict"', "TIS (transferability", "Robustness needs no"))
    assert verdict < tis < robustness < html.index("<h2>")
    assert "Over 36 configurations on " in html
    folds = ["Ways of choosing", "Comparisons on the same configurations", "What the words mean", "Data and runs"]
    assert folded(html)[:4] == folds
    assert "What is missing or was left out" in folded(broken_page) and "What is missing or was left out" not in folded(html)


def folded(html: str) -> list[str]:
    """Return the lines below which the rest of the page is folded."""
    rest = html[html.index("<h2>Everything else</h2>") :]
    assert "<table" not in html[: -len(rest)].split("<details>")[0]
    return re.findall(r"<summary>([^<]*)", rest)


@pytest.mark.parametrize("name", ["small_page", "paperlike_page", "broken_page"])
def test_nothing_comes_from_elsewhere(name: str, request: pytest.FixtureRequest):
    html = request.getfixturevalue(name)
    for tag, attributes in outline(html).tags:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert not {"src", "xlink:href", "srcset"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert not re.search(r"https?:|url\(|@import|@font-face", html)
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_names_are_escaped(broken_page: str):
    html = broken_page
    assert "<b>unet" not in html and "<script>alert" not in html
    assert "&lt;b&gt;unet&lt;/b&gt; &amp; co" in html
    assert "<title>&lt;T&gt; &amp; co</title>" in html
    assert html.count("<script>") == 1


def test_ids_are_distinct_and_every_reference_has_its_target(paperlike_page: str):
    attributes = [attributes for _, attributes in outline(paperlike_page).tags]
    ids = [found["id"] for found in attributes if "id" in found]
    assert len(ids) == len(set(ids))
    assert {(found["href"] or "").removeprefix("#") for found in attributes if "href" in found} == set(ids)


def test_up_to_six_panels_are_on_view_the_rest_is_folded(make: Make):
    for count, shown in ((1, 1), (6, 6), (8, 6)):
        html = page.render(make(count, 2, (0, 5, 10)), "T")
        on_view = html[html.index("Dice by pretraining epoch</h2>") : html.index("Everything else</h2>")].split("<details>")[0]
        assert on_view.count("<figure>") == shown
        assert html.count("test Dice and robustness by pretraining epoch</title>") == count
        assert ("The other " in html) == (count > 6)


def test_the_panels_on_view_go_from_the_worst_to_the_best(paperlike: Analysis):
    tis = [one.by_selector["offline"].tis for one in page_sections.order(paperlike.judged)]
    everything = [one.by_selector["offline"].tis for one in paperlike.judged]
    assert tis == sorted(tis)
    assert (tis[0], tis[-1]) == (min(everything), max(everything))
    plain = tuple(replace(one, verdicts=()) for one in paperlike.judged)
    assert page_sections.order(plain) == list(plain[:6])
    assert "the first by name" in page_sections.shown(replace(paperlike, judged=plain))


def test_configurations_of_one_checkpoint_have_no_panel_beside_others(small: Analysis, paperlike: Analysis):
    single = replace(small.judged[0], candidates=small.judged[0].candidates[:1])
    mixed = replace(small, judged=(single, small.judged[0], single))
    assert page_sections.order(mixed.judged) == [small.judged[0]] and page_sections.folded_panels(mixed) == ""
    assert "2 configurations with a single checkpoint have none." in page_sections.shown(mixed)
    assert "1 configuration with a single checkpoint has none. On view are 6 of " in page_sections.shown(
        replace(paperlike, judged=(single, *paperlike.judged))
    )
    alone = replace(small, judged=(single,))
    assert page_sections.order(alone.judged) == [single] and "single checkpoint" not in page_sections.shown(alone)


def test_every_number_of_a_checkpoint_is_on_the_page(small: Analysis, small_page: str):
    html = small_page
    for judged in small.judged:
        for one in judged.candidates:
            assert f"<td>{one.mean:.3f} ± {one.std:.3f}</td>" in html
            assert f"<td>{one.robustness:.3f}</td>" in html
    assert f"Spearman {small.judged[0].correlations['spearman']:.3f}" in html
    assert all(run in html for judged in small.judged for run in judged.pool.runs)
    assert "8f3a0c11" in html


def test_ties_and_choices_are_described(small: Analysis):
    one = small.judged[0]
    tied = replace(one, verdicts=(replace(one.verdicts[0], tied=(1, 5)), *one.verdicts[1:]))
    assert ">1, 5</td>" not in page.render(small, "T")
    assert ">1, 5</td>" in page.render(replace(small, judged=(tied, small.judged[1])), "T")


def test_one_seed_has_no_intervals(make: Make):
    html = page.render(make(9, 1), "T")
    assert "nan" not in html.lower().replace("language", "")
    assert "a single seed" in html


def test_nothing_judged_still_gives_a_page(broken: Analysis):
    nothing = replace(broken, judged=broken.judged[1:], summaries=(), contrasts=())
    html = page.render(nothing, "T")
    assert outline(html).headings == ["Dice by pretraining epoch", "Everything else"]
    assert folded(html)[:3] == ["What the words mean", "Data and runs", "Digests of pretraining, data and protocol"]
    assert "What is missing or was left out" in folded(html)
    html = page.render(replace(nothing, judged=(), left=()), "T")
    assert outline(html).headings == ["Metric by pretraining epoch", "Everything else"]
    assert folded(html) == ["What the words mean", "Data and runs"]


def test_pools_of_several_metrics_are_each_shown_with_their_own(small: Analysis):
    auc = Metric("auc", "AUC", 0.0, 1.0, "area under the curve")
    first, second = small.judged
    other = replace(second, pool=replace(second.pool, metric=auc))
    html = page.render(replace(small, judged=(first, other)), "T")
    assert "Metric by pretraining epoch" in outline(html).headings
    assert "<dt>Dice</dt>" in html and "<dt>AUC</dt><dd>area under the curve on the test images, from 0 to 1, after" in html
    assert html.count('<th scope="col">Dice</th>') == html.count('<th scope="col">AUC</th>') == 2
    assert "test Dice and robustness by" in html and "test AUC and robustness by" in html
    assert "Dice" not in page.render(replace(small, judged=(other,)), "T")


def test_a_lone_configuration_is_open(make: Make):
    assert "<details open>" in page.render(make(1, 2), "T")
    assert "<details open>" not in page.render(make(2, 2), "T")


def test_four_hundred_configurations_are_light(make: Make):
    html = page.render(make(400, 5), "T")
    assert len(html.encode()) < 4e6
    assert html.count("test Dice and robustness by pretraining epoch</title>") == MOST_PANELS
    assert "the first 30 by name; all are listed below" in html


def test_the_page_of_the_papers_study_is_light(paperlike_page: str):
    assert len(paperlike_page.encode()) < 1e6


def test_the_same_analysis_gives_the_same_page(small: Analysis, small_page: str):
    assert page.render(small, "T") == small_page


def test_a_document_frames_any_body():
    html = page.document("A & B", "<h2>Claims</h2><p>one</p>")
    assert outline(html).headings == ["Claims"]
    assert "<h1>A &amp; B</h1>" in html


def test_a_table_from_rows():
    rows = [{"what": "<a>", "n": 3, "x": 0.12345, "ok": True, "none": None, "kept": Markup("<i>k</i>")}]
    text = html.table(rows, "A caption", left=("ok",), wrapped=("kept",))
    assert (
        '<th scope="row">&lt;a&gt;</th><td>3</td><td>0.123</td><td class="l">yes</td><td>–</td><td class="w"><i>k</i></td>' in text
    )
    assert "<caption>A caption</caption>" in text
    assert html.table([]) == ""


def test_a_whisker_shows_value_interval_and_zero():
    tags = outline(html.whisker(0.5, (0.25, 1.0), 0.0, 1.0, 0.0)).tags
    assert tags[0][1]["title"] == tags[0][1]["aria-label"] == "0.500 (0.250 – 1.000)"
    places = {tag: attributes["style"] for tag, attributes in tags[1:]}
    assert places == {"i": "left:4.0%", "b": "left:27.0%;width:69.0%", "u": "left:50.0%"}
    assert [tag for tag, _ in outline(html.whisker(0.5, None, 0, 0)).tags] == ["span", "u"]


def test_the_other_parts():
    assert page.figure("<svg/>", "C & D") == "<figure><figcaption>C &amp; D</figcaption><svg/></figure>"
    assert (
        page.details("a<b", "<p>x</p>", "s")
        == '<details><summary>a&lt;b<small>s</small></summary><div class="inside"><p>x</p></div></details>'
    )
    assert page.note("x < y") == '<p class="note">x &lt; y</p>'
    assert page.bullets(["a", "<b>"]) == "<ul><li>a</li><li>&lt;b&gt;</li></ul>"
    assert page.bullets([]) == ""


def test_weights_that_continue_from_others_are_named_and_drawn(small: Analysis):
    parent = {"encoder": "unet", "origin": "supervised", "kind": "file", "source": "imagenet", "epoch": 90, "weights": "ab" * 32}
    first, second = small.judged
    fields = {**first.pool.fields, "origin": "xrays", "source": "chestxray14"}
    digests = {**first.pool.digests, "pretraining": "other"}
    pool = replace(first.pool, fields=fields, digests=digests, chain="supervised>chestxray14", parents=(parent,))
    analysis = replace(small, judged=(replace(first, pool=pool), second))
    assert pool.name == "unet supervised>chestxray14 → acdc, full"
    tree = "imagenet: unet-supervised, epoch 90 (abababababab)\n└─ chestxray14: unet-xrays\n   └─ acdc, full"
    assert lineage_text.trees(analysis) == [tree] and lineage_text.trees(small) == []
    assert f"<pre>{tree}</pre>" in page.render(analysis, "T")
    assert "Where the weights come from" not in page.render(small, "T")


def test_maps_of_features_are_drawn_by_target(small: Analysis, small_page: str):
    drawn = FeatureMap(np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 0.5]]), ["ill", "well", "ill"])
    text = page.render(replace(small, maps={"moon": {"unet e003": drawn, "fused:a+b": drawn}, "sun": {"swin e001": drawn}}), "Maps")
    assert [text.count(f"<title>Features of {name}</title>") for name in ("unet e003", "fused:a+b", "swin e001")] == [1, 1, 1]
    assert text.count(feature_maps.HEADING) == 1 and text.count(feature_maps.CAUTION) == 1
    outline(text)
    assert feature_maps.HEADING not in small_page


def alike(*encoders: str, batch: int = 10) -> Similarity:
    """Return a comparison of encoders of two levels, whose values are counted up in hundredths."""
    count = 2 * len(encoders)
    values = [[1.0 if i == j else (i + j) / 100 for j in range(count)] for i in range(count)]
    values[0][1] = values[1][0] = None
    levels = [[[4, 8], [8, 16]]] * len(encoders)
    return Similarity(
        "moon", "d", "train", 20, batch, "unbiased", "flat", -2, list(encoders), ["w"] * len(encoders), levels, values, "c"
    )


def test_comparisons_of_encoders_are_drawn_by_target(small: Analysis, small_page: str):
    compared = {"moon": [alike("a<1>", "b"), alike("a<1>", "b", "c")], "sun": [alike("a<1>", "b", batch=20)]}
    text = page.render(replace(small, similarities=compared), "Alike")
    outline(text)
    for title, count in {"CKA 1. a&lt;1&gt; and b": 2, "CKA 2. 3 encoders at level -2": 1, "CKA 2. b and c": 1}.items():
        assert text.count(f"<title>{title}</title>") == count
    assert text.count("unbiased, over minibatches of 10): 20 images of the split train of moon") == 2
    assert text.count(similarities.HEADING) == 1 and text.count(similarities.CAUTION) == 1
    assert similarities.HEADING not in small_page


def test_cells_of_heat_maps_hold_the_values():
    shown = similarities.show([alike("a", "b", "c")])
    main, pairs = shown.split("Level by level")
    assert [main.count(f">{value}<") for value in ("1.00", "0.02", "0.04", "0.06")] == [3, 2, 2, 2]  # levels 0, 2, 4 of six
    assert [pairs.count(f">{value}<") for value in ("0.02", "0.03", "0.04")] == [1, 2, 2]  # 0.04: of a and b, and a and c
    many = similarities.show([alike(*map(str, range(13)))])
    assert ">0.02<" not in many.split("Level by level")[0] and many.count("<svg") == 1 + similarities.MOST_PAIRS


def test_drawing_shows_progress(make: Make, terminal: Callable[[], str]):
    analysis = make(8, 2, (0, 5, 10))
    terminal()
    page.render(analysis, "T")
    shown = terminal()
    assert "report: drawing" in shown and "/6" in shown and "/2" in shown, "six on view, two folded"


def test_what_stands_between_backticks_is_code() -> None:
    assert html.with_code("run `a <b>`, then c") == "run <code>a &lt;b&gt;</code>, then c"
    assert html.with_code("one ` mark") == "one ` mark"
