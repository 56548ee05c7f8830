from pathlib import Path

import pytest
from matplotlib.figure import Figure

from medtransfer.records import Score
from medtransfer.score.plot import draw_curves


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_every_metric_of_an_indicator_is_drawn(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: (drawn.append(figure), Path(path).touch()))
    names = [f"depth_{number}" for number in range(count)]
    rows = {name: {epoch: Score("depth", {"level": -1}, 0.5, 0.1, {}) for epoch in (0, 5)} for name in names}
    draw_curves(tmp_path / "scores.png", rows, dict.fromkeys((0, 5)), "title")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
