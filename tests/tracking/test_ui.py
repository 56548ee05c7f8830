"""The MLflow UI is started on the store that the stages use, on a free port."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from mlflow.cli import server

from medtransfer.errors import InputError
from medtransfer.tracking.ui import serve


@pytest.fixture
def port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_the_ui_opens_the_store_of_the_project(port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    serve("127.0.0.1", port)
    ((_, command, environment),) = started
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", environment["MLFLOW_BACKEND_STORE_URI"])
    read = server.make_context("ui", command[4:]).params  # as MLflow reads them
    assert command[2:4] == ["mlflow", "ui"]
    assert (read["host"], int(read["port"])) == ("127.0.0.1", port)
    assert Path.cwd() / read["backend_store_uri"].removeprefix("sqlite:///") == workplace / "mlflow.db"


def test_a_taken_port_is_named_with_the_option(port: int, workplace: Path) -> None:
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}, but got .*; name another port by `medtransfer ui --port N`"):
            serve("127.0.0.1", port)
