"""A replay from printed tables leaves tables, a page and one run."""

import csv
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Replay
from medtransfer.papers.printed.stage import run


def test_a_replay_leaves_tables_a_page_and_one_run(workplace: Path):
    section = Replay.model_validate({"out": "replay", "paper": "truong", "downstream": None, "robustness": None})
    text = run(section).texts[0]
    assert run(section).texts[0] == text and text.startswith("By the printed means 11 of 14 claims hold.")
    folder = Path("replay/truong")
    with (folder / "claims.csv").open() as file:
        claims = list(csv.DictReader(file))
    with (folder / "comparisons.csv").open() as file:
        comparisons = list(csv.DictReader(file))
    assert len(claims) == 14 and sum(int(row["comparisons"]) for row in claims) == len(comparisons)
    page = (folder / "replay.html").read_text()
    assert (
        "DVME outperforms the best single model in 4 of 4 targets of S." in page
        and page.count("<circle") + page.count("<use") > 100
    )
    (logged,) = tracking.read_runs("replay")
    assert logged.metrics["claims_hold"] == 11.0 and logged.params["paper"] == "truong"
