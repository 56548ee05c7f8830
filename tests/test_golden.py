"""A small study gives what it gave: its commands are run again, and every golden value must be among theirs.

`python tests/golden/make.py` makes the goldens again. Those of the released files are compared in tests/papers/hidy2024.
"""

from pathlib import Path

import pytest
from tests.golden import make
from tests.golden.compare import CHOICE, NOT_COMPARED, SAME_MACHINE, compare, compare_json, compare_rows, how

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walk the study of tests/golden/params.yaml."""
    place = tmp_path_factory.mktemp("study")
    make.run_study(place)
    return place


@pytest.mark.parametrize("table", make.STUDY)
def test_the_study_says_what_it_said(table: str, study: Path) -> None:
    compare_rows(f"study/{table}", make.read_rows(study / "reports" / table))


def test_a_finetuning_measures_what_it_measured(study: Path) -> None:
    compare_json("finetuning/metrics.json", make.read_json(study / make.FINETUNING), NOT_COMPARED)


def test_a_checkpoint_is_what_it_was(study: Path) -> None:
    tensors = set() if SAME_MACHINE else {"tensors"}  # another machine rounds otherwise
    compare_json("checkpoint/checkpoint.json", make.checkpoint_facts(study), NOT_COMPARED | tensors)


def test_every_setting_has_the_tis_that_it_had(study: Path) -> None:
    compare_rows("study/search.csv", make.search_rows(study))


def test_the_search_finds_the_same_winner_held_out_too(study: Path) -> None:
    """Of settings that are equally good any may win; then what depends on the choice must be the TIS of the one that won."""
    name, found = "study/search.json", make.search_result(study)
    golden = make.read_json(make.GOLDEN / name)
    values = {tuple(row[one] for one in make.SETTING): row for row in make.read_rows(make.GOLDEN / "study/search.csv")}
    studies = {row["study"]: row for row in found["studies"]}
    held_out = {row["target"]: row for row in found["held_out"]}
    tied, faults = set(), []
    for row in golden["studies"]:
        if row["other settings as good"] != "0":
            tied.add(row["study"])
        free = CHOICE if row["study"] in tied else set()
        compared = {column: text for column, text in row.items() if column not in free | {"trials"}}
        faults += compare(name, compared, studies[row["study"]], row["study"])
    for row in golden["held_out"]:
        new, free = held_out[row["target"]], CHOICE if f"search-without-{row['target']}" in tied else set()
        faults += compare(name, {column: text for column, text in row.items() if column not in free}, new, row["target"])
        key = (new["distance"], str(float(new["margin"])), new["level"], new["pooling"])
        tis = float(values[key][f"tis_{row['target']}"])
        faults += compare(name, {"TIS": f"{tis:.3f}"}, new, f"{row['target']}, {key}")
    assert not faults, f"{name}, compared {how(name)}:\n" + "\n".join(faults)
