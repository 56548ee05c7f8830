"""Nothing in the store, artifacts and records of a finished study says whose machine made it, and the UI stays on it."""

import sqlite3
from pathlib import Path

from medtransfer import study
from medtransfer.config import load_params

ROOT = Path(__file__).parents[2]


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


def test_secrets_users_and_hosts_are_not_stored(place: Path, secrets: dict[str, str]) -> None:
    study.search(load_params([place / "params.yaml"], {}))
    told = {**_rows(place / "mlflow.db"), **_files(place)}
    for name, secret in secrets.items():
        assert [home for home, text in told.items() if secret.encode() in text] == [], name
    assert b"medtransfer score" in told["tags.value"] and b"unet" in told["params.value"]
    assert any(home.startswith("mlartifacts/finetune") for home in told)
    assert b"mlflow.user" not in told["tags.key"]
    assert set(told["runs.user_id"].split()) <= {b"unknown", b"None"}


def test_the_ui_listens_to_this_machine_only() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nui:")[1].split("\n\n")[0]
    assert "medtransfer ui" in recipe and "--host" not in recipe
    assert load_params([ROOT / "params.yaml"], {}).ui.host == "127.0.0.1"
