"""Stage `replay` of a paper of which only printed tables exist."""

from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Replay
from medtransfer.hashing import digest
from medtransfer.papers.printed import ours, page
from medtransfer.papers.printed.claims import judge
from medtransfer.papers.printed.registry import PAPERS
from medtransfer.records import write_text
from medtransfer.records.tables import as_csv

FILES = ("claims.csv", "comparisons.csv", "ours.csv", "replay.md", "replay.html")


def run(section: Replay) -> tracking.Made:
    """Test every claim of the paper on its printed numbers; write tables and a page to `<out>/<paper>`, and log a run.

    Args:
        section: validated params.

    Returns:
        Its files, its text for the terminal and the digest of its run.
    """
    paper = PAPERS[section.paper]
    cells = paper.cells()
    by_key = {(cell.table, cell.row, cell.column): cell for cell in cells}
    judged = [judge(claim, by_key) for claim in paper.claims]
    found = ours.find_ours(paper, cells)
    beside = (ours.sentence(found, paper, cells), ours.compared(found))
    out = Path(section.out) / paper.name
    write_text(out / "claims.csv", as_csv(page.claim_rows(judged)))
    write_text(out / "comparisons.csv", as_csv(page.comparison_rows(judged)))
    write_text(out / "ours.csv", as_csv(ours.rows(found)))
    write_text(out / "replay.md", text := page.markdown(paper, judged, cells, *beside))
    write_text(out / "replay.html", page.render(paper, judged, cells, *beside))
    params = {"kind": "printed", "paper": paper.name, "claims": len(judged)}
    cell = digest([params, text], 16)
    with tracking.once("replay", paper.name, cell, params) as handle:
        if handle:
            handle.log_metrics({"claims_hold": sum(one.holds == "holds" for one in judged)})
            for name in FILES:
                handle.log_artifact(out / name)
    parts = [page.verdict(judged), "\n".join(page.lines(judged)), beside[0], f"The page: {out / 'replay.html'}"]
    return tracking.Made([cell], [out / name for name in FILES], ["\n\n".join(parts)])
