"""Nothing in the store, artifacts and records of a finished study says whose machine made it, and the UI stays on it."""

import platform
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from medtransfer import study
from medtransfer.config import Params

ROOT = Path(__file__).parents[2]
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-amazon", "MLFLOW_TRACKING_TOKEN": "a-secret-of-mlflow", "HF_TOKEN": "a-secret-of-the-hub",
    "DATABASE_PASSWORD": "a-secret-of-a-database", "USER": "ada-the-user", "LOGNAME": "ada-the-user", "USERNAME": "ada-the-user",
    "HOME": "/homes/of-ada", "HOSTNAME": "adas-own-host",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(
    tiny_params: Callable[..., Params], empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, bytes]]:  # fmt: skip
    """Make a study where secrets lie in the environment; give every text that it left, by place."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module, function in ((socket, "gethostname"), (socket, "getfqdn"), (platform, "node")):
            patch.setattr(module, function, lambda *_: SECRETS["HOSTNAME"])
        for name, value in {**SECRETS, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}.items():
            patch.setenv(name, value)
        params = tiny_params({
            "pretrain.epochs": 1, "pretrain.checkpoints": [], "finetune.train_epochs": 1, "study.modes": ["full"],
            "study.seeds": [7],
            "search.margins": {"low": 0.5, "high": 0.5, "step": 0.1}, "search.levels": [-1, -2], "report.draws": 100,
        })  # fmt: skip
        Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
        study.study(params)
        study.search(params)
        yield {**_rows(folder / "mlflow.db"), **_files(folder)}


def _rows(store: Path) -> dict[str, bytes]:
    """Return every text of every table, by table and column."""
    found: dict[str, bytes] = {}
    connection = sqlite3.connect(store)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        cursor = connection.execute(f'SELECT * FROM "{table}"')
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            for column, value in zip(columns, row, strict=True):
                found[f"{table}.{column}"] = found.get(f"{table}.{column}", b"") + str(value).encode() + b"\n"
    connection.close()
    return found


def _files(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in {"mlflow.db", "params.yaml"}]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_no_user_and_no_host_is_told(name: str, told: dict[str, bytes]) -> None:
    assert [place for place, text in told.items() if SECRETS[name].encode() in text] == []


def test_something_was_told(told: dict[str, bytes]) -> None:
    assert b"medtransfer score" in told["tags.value"] and b"unet" in told["params.value"]
    assert any(place.startswith("mlartifacts/finetune") for place in told)


def test_the_user_is_left_out(told: dict[str, bytes]) -> None:
    assert b"mlflow.user" not in told["tags.key"]
    assert set(told["runs.user_id"].split()) <= {b"unknown", b"None"}


def test_the_ui_listens_to_this_machine_only() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nui:")[1].split("\n\n")[0]
    assert re.search(r"mlflow (ui|server) .*--host 127\.0\.0\.1 ", recipe) and "0.0.0.0" not in recipe
