"""A command that is proposed next repeats the files that the present one was given."""

from pathlib import Path

import pytest

from medtransfer.config.loaded_files import predict_command, repeated_options
from medtransfer.working_folder import load


def test_the_files_of_the_last_load_are_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("my study.yaml").write_text("finetune: {seed: 3}\n")
    load([Path("my study.yaml"), Path("strong")])
    assert repeated_options() == " --params 'my study.yaml' --params strong"
    assert predict_command([Path("models/a b")]) == (
        "medtransfer predict --model 'models/a b' --images FOLDER --params 'my study.yaml' --params strong"
    )
    load()
    assert repeated_options() == ""
