"""The MLflow UI is started on the store that the stages use, on a free port, and ends with the command."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from medtransfer.cli import cli
from medtransfer.errors import InputError, StageError
from medtransfer.tracking import ui as tracking_ui
from medtransfer.tracking.ui import serve


@pytest.fixture
def port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the command and the options of each server, in whose place a process starts that ends with the exit code 3."""
    commands = []
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        commands.append((command, options))
        return popen([sys.executable, "-c", "raise SystemExit(3)"], process_group=0)

    monkeypatch.setattr(tracking_ui.subprocess, "Popen", start)
    return commands


def test_the_ui_opens_the_store_of_the_project(
    port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[list[str], dict[str, Any]]]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(StageError, match="the MLflow UI ended by itself, with exit code 3"):
        serve("127.0.0.1", port, or_free=True)
    ((command, options),) = started
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", options["env"]["MLFLOW_BACKEND_STORE_URI"])
    from mlflow.cli import server  # takes a second

    read = server.make_context("ui", command[4:]).params  # as MLflow reads them
    assert command[2:4] == ["mlflow", "ui"]
    assert (read["host"], int(read["port"]), int(read["workers"])) == ("127.0.0.1", port, 1)
    assert options["cwd"] / read["backend_store_uri"].removeprefix("sqlite:///") == workplace / "mlflow.db"


def test_a_taken_port_is_named_with_the_option(port: int, workplace: Path) -> None:
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}, but got .*; name another port by `medtransfer ui --port N`"):
            serve("127.0.0.1", port)


def test_a_taken_port_is_refused_before_mlflow_is_imported(port: int, tmp_path: Path) -> None:
    code = "import sys, medtransfer.cli as cli\ntry: cli.main()\nfinally: print('imported', 'mlflow' in sys.modules)"
    with socket.create_server(("127.0.0.1", port)):
        ended = subprocess.run(
            [sys.executable, "-c", code, "ui", "--port", str(port)], cwd=tmp_path, capture_output=True, text=True
        )
    assert (ended.returncode, ended.stdout) == (2, "imported False\n")
    assert "starting" not in ended.stderr


def test_a_free_port_takes_the_place_of_a_taken_default(
    port: int, workplace: Path, caplog: pytest.LogCaptureFixture, started: list[tuple[list[str], dict[str, Any]]]
) -> None:
    with socket.create_server(("127.0.0.1", port)), caplog.at_level("INFO", "medtransfer"):
        with pytest.raises(StageError):
            serve("127.0.0.1", port, or_free=True)
    ((command, _),) = started
    chosen = int(command[command.index("--port") + 1])
    assert chosen != port and f"port {port} of 127.0.0.1 is taken" in caplog.text
    assert f"starting the MLflow UI, which takes some seconds, at http://127.0.0.1:{chosen}/#/experiments?" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        ("answers", signal.SIGINT, 130),
        ("starting", signal.SIGINT, 130),
        ("starting", signal.SIGTERM, 143),
        ("starting", signal.SIGHUP, 129),
    ],
)
def test_a_signal_ends_the_ui_without_a_traceback(line: str, number: int, code: int, port: int, workplace: Path) -> None:
    """A terminal sends Ctrl-C, and that it is closed, to all processes of its group."""
    program = (  # as a shell starts it, whatever the process of the tests ignores
        "import signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from medtransfer.__main__ import main\n"
        "main()"
    )
    ui = subprocess.Popen(
        [sys.executable, "-c", program, "ui", "--port", str(port)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert ui.stderr is not None
    lines = []
    while not lines or line not in lines[-1]:
        lines.append(ui.stderr.readline())
        assert ui.poll() is None, lines
    if line == "answers":
        with urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.read() == b"OK"
    os.killpg(ui.pid, number)
    rest = ui.stderr.read()  # to the end: no process is left that could write
    assert ui.wait() == code
    assert "Traceback" not in rest and rest.endswith("the MLflow UI has ended\n")
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("words", "expected"), [([], (5000, True)), (["--port", "5001"], (5001, False))])
def test_only_a_port_that_was_not_asked_for_is_changed(
    words: list[str], expected: tuple[int, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(tracking_ui, "serve", lambda host, port, or_free: asked.append((host, port, or_free)))
    assert CliRunner().invoke(cli, ["ui", *words]).exit_code == 0
    assert asked == [("127.0.0.1", *expected)]
