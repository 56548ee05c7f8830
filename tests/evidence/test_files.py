"""Evidence files: the same rows give the same bytes, every fault is named with its line, and importing twice adds nothing."""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evidence.rows import row, weights

from medtransfer.errors import InputError
from medtransfer.evidence.stage import import_files
from medtransfer.records import atomic
from medtransfer.records.evidence import EvidenceRow, read_evidence, write_evidence

ROWS = [row("a", "moon", 0.8), row("b", "moon", 0.7, std=None, seeds=1, raw="0" * 12, seconds=None), row("a", "sun", 0.5)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_evidence(tmp_path / "evidence.csv", ROWS)
    return tmp_path / "evidence.csv"


def change(file: Path, line: int, **values: str) -> None:
    """Change fields of a line, the header being line 1."""
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[line - 2] |= values
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_what_is_written_is_read_and_the_order_of_rows_changes_no_byte(file: Path) -> None:
    assert sorted(read_evidence(file), key=str) == sorted(ROWS, key=str)
    write_evidence(file.with_name("other.csv"), ROWS[::-1])
    assert file.read_bytes() == file.with_name("other.csv").read_bytes()


def test_no_rows_are_a_header_alone(tmp_path: Path) -> None:
    write_evidence(tmp_path / "none.csv", [])
    assert read_evidence(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"encoder": "=HYPERLINK(1)"}, "line 3, encoder '=HYPERLINK.1.': must be of"),
        ({"source": "@SUM(A1)"}, "line 3, source '@SUM.A1.': must be of"),
        ({"torch": "+1"}, "line 3, torch '.1': must be of"),
        ({"git_revision": "/home/somebody/project"}, "line 3, git_revision '/home/.*': must be of"),
        ({"weights": "abc"}, "line 3, weights 'abc': must be of"),
        ({"mean": "nan"}, "line 3, mean 'nan': must be a finite number"),
        ({"mean": "inf"}, "line 3, mean 'inf': must be a finite number"),
        ({"mean": "57.2"}, "line 3, mean '57.2': must be at most 1"),
        ({"mean": ""}, "line 3, mean '': must be a number"),
        ({"seeds": "0"}, "line 3, seeds '0': must be at least 1"),
        ({"seeds": "1.5"}, "line 3, seeds '1.5': must be a whole number"),
        ({"seeds": "1", "std": "0.01"}, "line 3, std '0.01': expected a value from two seeds on and none of one, but got 1 seeds"),
        ({"seeds": "2", "std": ""}, "line 3, std '': expected a value from two seeds on"),
        ({"height": "99999999"}, "line 3, height '99999999': must be at most"),
        ({"encoder": "x" * 101}, "line 3, encoder 'xxx.*xxx': must be of at most 100 characters"),
        ({"encoder": "x" * 200_000}, "it cannot be read .field larger than field limit"),
        ({"mean": "2", "epoch": "-1"}, "epoch '-1': must .*; line 3, mean '2': must"),
    ],
)  # fmt: skip
def test_every_fault_is_named_with_its_line(file: Path, values: dict[str, str], words: str) -> None:
    change(file, 3, **values)
    with pytest.raises(InputError, match=rf"{file}, but .*{words}") as error:
        read_evidence(file)
    assert len(str(error.value)) < 1000


def test_many_faults_are_counted(file: Path) -> None:
    write_evidence(file, [row(str(i), "moon", 0.5) for i in range(15)])
    file.write_text(file.read_text().replace(",0.5,", ",5,"))
    with pytest.raises(InputError, match="line 2, mean '5'.*line 11, mean.*; and 5 more; export it again"):
        read_evidence(file)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text + text.splitlines()[1] + "\n", "line 5: expected another key than that of line"),
        (lambda text: text.replace("weights,", "weight,", 1), "the columns of evidence in .* but 'weight' is not one of them"),
        (lambda text: text.replace("weights,", "data,", 1), "every column once"),
        (lambda text: "\n".join(line.partition(",")[2] for line in text.splitlines()), "'weights' is missing"),
        (lambda text: text + "a,b\n", "expected 27 fields per line.* got 2 in line 5"),
        (lambda text: "", "it is empty"),
        (lambda text: text.replace("unet", "un\0et"), "holds a NUL"),
    ],
)
def test_files_of_another_form_are_refused(file: Path, edit: Callable[[str], str], words: str) -> None:
    file.write_text(edit(file.read_text()))
    with pytest.raises(InputError, match=words):
        read_evidence(file)


def test_what_is_not_a_file_and_what_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected evidence in .*, but it is a folder"):
        read_evidence(tmp_path)
    with (tmp_path / "large.csv").open("wb") as handle:
        handle.truncate(2**30)
    with pytest.raises(InputError, match="expected at most 16777216 bytes of evidence in .*large.csv, but got 1073741824"):
        read_evidence(tmp_path / "large.csv")


@pytest.mark.parametrize("changed", [{"source": "=1+1"}, {"source": "/home/me"}, {"mean": math.nan}])
def test_what_could_not_be_imported_is_not_exported(tmp_path: Path, changed: dict[str, str | float]) -> None:
    with pytest.raises(InputError, match="expected plain names and numbers in the evidence on unet-simple/epoch-001, but got"):
        write_evidence(tmp_path / "evidence.csv", [replace(ROWS[0], **changed)])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_importing_twice_adds_nothing(file: Path) -> None:
    out = file.with_name("evidence")
    assert "3 rows on 2 targets, stored as" in import_files([file], out)
    (stored,) = out.iterdir()
    reordered = [*file.read_text().splitlines()[:1], *file.read_text().splitlines()[:0:-1]]
    file.write_text("\r\n".join(reordered))
    assert import_files([file, file], out).count("already imported") == 2
    assert list(out.iterdir()) == [stored] and sorted(read_evidence(stored), key=str) == sorted(ROWS, key=str)


def test_nothing_is_imported_if_one_file_is_broken(file: Path) -> None:
    broken = file.with_name("broken.csv")
    broken.write_text(file.read_text().replace("0.5", "nan"))
    with pytest.raises(InputError, match="broken.csv"):
        import_files([file, broken], file.with_name("evidence"))
    assert not file.with_name("evidence").exists()


def test_an_import_that_is_killed_leaves_nothing_half_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its name only after its bytes are on disk, so killing it just before leaves no CSV file."""

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    out = file.with_name("evidence")
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            import_files([file], out)
    assert list(out.glob("*.csv")) == []
    import_files([file], out)
    assert [path.suffix for path in out.iterdir()] == [".csv"]


def test_a_row_names_its_weights_and_target(file: Path) -> None:
    first = row("a", "moon", 0.8, target="clinic", raw="0" * 12)
    assert first.name == "unet-simple/epoch-001" and first.weights == weights("a")
    assert first.target_ids == {first.data, "clinic", "0" * 12}
    assert isinstance(first.anonymous, EvidenceRow) and first.anonymous.target_ids == {first.data, "0" * 12}
