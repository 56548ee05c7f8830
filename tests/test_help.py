import re
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

from medtransfer.cli import cli
from medtransfer.command_line import Key
from medtransfer.config import schema
from medtransfer.config.schema import Params
from medtransfer.decoders import DECODERS
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.negatives import NEGATIVES
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.modes import MODES
from medtransfer.pretrain.origins import ORIGINS

ROOT = Path(__file__).parents[1]
OPTIONS = [(command, option.name) for command in cli.commands for option in cli.commands[command].params if isinstance(option, Key)]


def described(section: str, key: str) -> str:
    return Params.model_fields[section].annotation.by_key()[key].description


@pytest.mark.parametrize("command", sorted({command for command, _ in OPTIONS}))
def test_every_option_says_what_it_is_and_its_default(command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    text = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
    for _, key in (option for option in OPTIONS if option[0] == command):
        assert re.search(
            rf"--{key.replace('_', '-')} \S+ {re.escape(described(command, key))}(; one of [^\[]+)? \[default: .+?\]", text
        ), key


@pytest.mark.parametrize(
    ("command", "option"),
    [("finetune", "--epoch INTEGER,..."), ("finetune", "--target TEXT,..."), ("score", "--indicators TEXT,..."),
     ("score", "--margins NUMBER,..."), ("pretrain", "--betas NUMBER,NUMBER"), ("pretrain", "--checkpoints INTEGER,..."),
     ("search", "--poolings frozen|always|never,...")],
)  # fmt: skip
def test_help_says_how_a_list_is_written(command: str, option: str):
    text = " ".join(CliRunner().invoke(cli, [command, "-h"]).output.split())
    assert f" {option} " in text and "A list (,...) is one value, values with commas between, or a YAML list" in text


@pytest.mark.parametrize(
    ("text", "lr", "power"), [(None, "0.05", "0.9"), ("finetune: {lr: 7.5}", "7.5", "0.9"), ("finetune: [", "0.05", "0.9")]
)
def test_help_shows_the_defaults_of_the_working_folder(
    text: str | None, lr: str, power: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    if text:
        Path("params.yaml").write_text(text)
    shown = " ".join(CliRunner().invoke(cli, ["finetune", "--help"]).output.split())
    assert f"highest learning rate [default: {lr}]" in shown and f"0: constant [default: {power}]" in shown


def test_every_option_is_described_by_a_fragment():
    for command in (cli, *cli.commands.values()):
        for option in (param for param in command.params if isinstance(param, click.Option)):
            assert not option.help.endswith(".") and not re.match("[A-Z][a-z]", option.help.removeprefix("AdamW")), option.help


def test_help_names_the_choices_and_needs_no_params(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    for folder, params in ((ROOT, None), (tmp_path, None), (tmp_path, "finetune: [")):
        monkeypatch.chdir(folder)
        if params:
            Path("params.yaml").write_text(params)
        text = " ".join(CliRunner().invoke(cli, ["finetune", "--help"]).output.split())
        assert "--select last|validation epoch" in text and "--lr NUMBER" in text and "--epoch-steps INTEGER|null" in text


@pytest.mark.parametrize(
    ("command", "key", "names"),
    [("finetune", "mode", MODES), ("finetune", "decoder", DECODERS), ("score", "distance", DISTANCES),
     ("score", "indicators", INDICATORS), ("pretrain", "stop-by", INDICATORS), ("search", "distances", DISTANCES)],
)  # fmt: skip
def test_help_lists_every_entry_of_the_registry(command: str, key: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(names, "new", None)
    text = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split()).replace("- ", "-")  # lines break after hyphens
    option = text.split(f" --{key} ")[-1].split(" --")[0]
    assert f"; one of {', '.join(names)}" in option


def test_every_field_says_what_it_is():
    kinds = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, schema.Section)]
    fields = {(kind, name): field for kind in kinds if kind is not Params for name, field in kind.model_fields.items()}
    undescribed = {("Prepare", "targets"), ("Pretrain", "encoders"), ("Pretrain", "origins")}  # their entries are
    assert {(kind.__name__, name) for (kind, name), field in fields.items() if not field.description} == undescribed


def test_comments_in_params_yaml_are_the_help():
    section, comments = "", {}
    for line in (ROOT / "params.yaml").read_text().splitlines():
        if match := re.match(r"(\w+):", line):
            section = match[1]
        elif match := re.match(r"  (\w+):.*?\s+# (.+)", line):
            comments[section, match[1]] = match[2]
    assert {key: comments.get(key) for key in OPTIONS} == {key: described(*key) for key in OPTIONS}


def test_params_yaml_has_the_options_of_every_indicator():
    text = (ROOT / "params.yaml").read_text().split("\n  settings:")[1].split("\n  batch_size:")[0]
    listed: dict[str, dict[str, str]] = {}
    for indent, key, comment in re.findall(r"^( {4}| {6})(\w+):[^#\n]*(?:# (.+))?$", text, re.MULTILINE):
        if len(indent) == 4:
            own = listed[key] = {}
        else:
            own[key] = comment
    defined = {name: indicator.options.model_fields for name, indicator in INDICATORS.items()}
    expected = {name: {key: field.description for key, field in options.items()} for name, options in defined.items() if options}
    assert listed == expected


def test_choices_in_the_schema_are_those_of_the_registries():
    """The schema is in a lower layer than the registries, so it lists their names itself."""
    assert set(get_args(schema.Score.model_fields["negative"].annotation)) == set(NEGATIVES)
    assert set(get_args(schema.Pooling)) == set(POOLED)
    kinds = [get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(schema.Origin)[0])]
    assert kinds == list(ORIGINS)
