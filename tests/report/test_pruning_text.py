"""The table of what pruning would have cost, on the page, in Markdown and as CSV."""

from dataclasses import replace

import pytest

from medtransfer.analysis.model import Analysis
from medtransfer.analysis.pruning import Pruning
from medtransfer.analysis.summary import prune
from medtransfer.report import page, pruning_text, tables

pytestmark = pytest.mark.long

RIDGE = Pruning("ridge", 20, 5, (0.012, 0.755), 0.35, 0.997, 0.971, 0.986, 0.65)


@pytest.fixture
def pruned(paperlike: Analysis) -> Analysis:
    return replace(paperlike, eta=3, prunings=prune(paperlike.judged, 3, 0.95))


def test_page_and_markdown_show_every_indicator_beside_a_blind_draw(pruned: Analysis, paperlike: Analysis) -> None:
    """Of ten checkpoints four stay: six of ten blind draws lose the winner."""
    for text in (page.render(pruned, "T"), tables.markdown(pruned, "T")):
        assert pruning_text.HEADING in text and "best ceil(n / 3) of a configuration" in text
        for one in pruned.prunings:
            assert f"{one.lost} of 36" in text and f"{one.tis:.3f}" in text
    assert {one.indicator: one.blind_loss for one in pruned.prunings}["robustness"] == pytest.approx(0.6)
    assert pruning_text.HEADING not in page.render(paperlike, "T") + tables.markdown(paperlike, "T")


def test_a_row_and_a_sentence() -> None:
    (row,), (cells,) = pruning_text.csv_rows([RIDGE]), pruning_text.table_rows([RIDGE])
    assert (row["indicator"], row["pools"], row["lost"], row["lost_high"], row["blind_loss"]) == ("ridge", 20, 5, 0.755, 0.35)
    assert (cells["loses the winner"], cells["as a share"], cells["interval"]) == ("5 of 20", 0.25, "0.012 – 0.755")
    text = pruning_text.sentence(RIDGE, "targets")
    assert text.startswith(
        "ridge probe would have pruned the later winner in 5 of 20 targets (interval of the share 0.012 – 0.755;"
    )
    assert "0.997, 0.971 at worst" in text
