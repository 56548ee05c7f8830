"""The command line of `study`."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from medtransfer.cli import cli
from medtransfer.errors import InputError


def call(*words: str) -> str:
    result = CliRunner().invoke(cli, ["study", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_name_the_studies_are_listed(workplace: Path) -> None:
    listed = call()
    assert listed == call("--list") and "| hidy-small " in listed and listed.endswith("Next: medtransfer study NAME --plan\n")


@pytest.mark.parametrize(
    "words", [("--write", "x.yaml"), ("--plan",), ("--set", "grid.workers=2"), ("--available",), ("--sd", "0.1")]
)
def test_what_is_for_one_study_needs_its_name(words: tuple[str, ...], workplace: Path) -> None:
    with pytest.raises(InputError, match=f"expected the NAME of a study, or its file, beside {words[0]}, but got none"):
        call(*words)
    assert not Path("x.yaml").exists() and call("--list", *words) == call()


def test_a_name_may_be_an_option_as_mlflow_passes_it(workplace: Path) -> None:
    assert call("--name", "hidy-small", "--plan") == call("hidy-small", "--plan")


def test_values_and_files_change_all_parts(workplace: Path) -> None:
    Path("more.yaml").write_text("study: {seeds: [1]}")
    assert "30 fine-tunings" in call("hosseinzadeh-taher-small", "--plan")
    assert "10 fine-tunings" in call("hosseinzadeh-taher-small", "--plan", "--params", "more.yaml")
    assert "20 fine-tunings" in call("hosseinzadeh-taher-small", "--plan", "--params", "more.yaml", "--set", "study.seeds=[1, 2]")
    assert "6 fine-tunings" in call("hosseinzadeh-taher-small/labels", "--plan")


def test_a_given_time_and_deviation_count(workplace: Path) -> None:
    text = call("hidy-small", "--plan", "--seconds-per-step", "0.5", "--sd", "0.03")
    assert "by 0.5 s per step." in text and "| 0.0300 | given " in text


@pytest.mark.parametrize("words", [("hidy", "--plan", "--sd", "0"), ("hidy", "--plan", "--seconds-per-step", "fast")])
def test_what_is_no_number_above_zero_is_refused(words: tuple[str, ...], workplace: Path) -> None:
    assert CliRunner().invoke(cli, ["study", *words]).exit_code == 2


def test_a_study_is_written_for_dvc(workplace: Path) -> None:
    assert call("hidy-small", "--write", "params.yaml") == "wrote params.yaml\nNext: medtransfer init ., then dvc repro report\n"
    with pytest.raises(InputError, match="expected no file at params.yaml"):
        call("hidy-small", "--write", "params.yaml")
    call("hidy-small", "--write", "params.yaml", "--force")
    for folder, following in ((".", "dvc repro report"), ("my study", "cd 'my study' && dvc repro report")):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "dvc.yaml").touch()
        written = call("hidy-small", "--write", f"{folder}/params.yaml", "--force")
        assert written.splitlines()[1] == f"Next: {following}"
    assert "Next: medtransfer grid --params other.yaml; for `dvc repro`" in call("hidy-small", "--write", "other.yaml")
