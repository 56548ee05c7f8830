"""The MLflow UI is started on the store that the stages use, on a free port."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from medtransfer.cli import cli
from medtransfer.errors import InputError
from medtransfer.tracking import ui as tracking_ui
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
    serve("127.0.0.1", port, or_free=True)
    ((_, command, environment),) = started
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", environment["MLFLOW_BACKEND_STORE_URI"])
    from mlflow.cli import server  # takes a second

    read = server.make_context("ui", command[4:]).params  # as MLflow reads them
    assert command[2:4] == ["mlflow", "ui"]
    assert (read["host"], int(read["port"])) == ("127.0.0.1", port)
    assert Path.cwd() / read["backend_store_uri"].removeprefix("sqlite:///") == workplace / "mlflow.db"


def test_a_taken_port_is_named_with_the_option(port: int, workplace: Path) -> None:
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}, but got .*; name another port by `medtransfer ui --port N`"):
            serve("127.0.0.1", port)


def test_a_free_port_takes_the_place_of_a_taken_default(
    port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    with socket.create_server(("127.0.0.1", port)), caplog.at_level("INFO", "medtransfer"):
        serve("127.0.0.1", port, or_free=True)
    chosen = int(started[0][1][-1])
    assert chosen != port and f"port {port} of 127.0.0.1 is taken" in caplog.text
    assert f"open http://127.0.0.1:{chosen}/#/experiments?workflowType=machine_learning" in caplog.text


@pytest.mark.parametrize(("words", "expected"), [([], (5000, True)), (["--port", "5001"], (5001, False))])
def test_only_a_port_that_was_not_asked_for_is_changed(
    words: list[str], expected: tuple[int, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(tracking_ui, "serve", lambda host, port, or_free: asked.append((host, port, or_free)))
    assert CliRunner().invoke(cli, ["ui", *words]).exit_code == 0
    assert asked == [("127.0.0.1", *expected)]
