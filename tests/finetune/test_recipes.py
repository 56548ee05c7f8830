"""The commands in the headers of the packaged recipes name settings that fit together."""

import re
import shlex
from pathlib import Path

import pytest

from medtransfer.config import load_params

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("recipe-*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_command_in_the_header_selects_by_validation_samples_that_are_held_out_once(recipe: Path) -> None:
    header = " ".join(line.lstrip("# ") for line in recipe.read_text().splitlines() if line.startswith("#"))
    commands = re.findall(r"`(medtransfer finetune [^`]+)`", header)
    assert commands
    for command in commands:
        words = shlex.split(command)
        presets = [ROOT / f"configs/{words[index + 1]}.yaml" for index, word in enumerate(words) if word == "--params"]
        params = load_params([ROOT / "params.yaml", *presets], {"finetune.target": words[words.index("--target") + 1]})
        target = params.prepare.targets[params.finetune.target]
        assert params.finetune.select == "validation" and (target.validation > 0) != (params.finetune.validation > 0)
