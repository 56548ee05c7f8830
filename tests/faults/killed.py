"""Run the command of a job, given as JOB, in this process, which may kill itself at a certain call; see test_kill.py."""

import os
import pathlib
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

JOB: dict[str, Any] = globals()["JOB"]
# The moments at which something becomes final, on disk or in the store.
WATCHED = ("log_batch", "log_artifact", "log_artifacts", "log_inputs", "create_run", "set_terminated")


def watch(owner: Any, name: str, counted: list[str], deadly: int | None) -> None:
    """Count the calls of a method, and die just before one of them."""
    method: Callable = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        counted.append(name)
        if len(counted) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments, **options)

    setattr(owner, name, call)


def main() -> None:
    """Run the command as its user would, in its own folder."""
    os.chdir(JOB["folder"])
    os.environ.update(JOB["environment"])
    os.environ.pop("MLFLOW_RUN_ID", None)
    said = pathlib.Path("said.txt").open("a", buffering=1)  # noqa: SIM115  # it stays open to the end
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event

    from medtransfer.finetune import trainer

    trainer.SECONDS_BETWEEN_STATES = 0.0
    # Neither pictures nor a power cut, for which SQLite waits for the disk, are what is tested, and both take long.
    if JOB["words"][0] != "finetune":
        draw = Figure.savefig

        def save(figure: Figure, file: Any, **options: Any) -> None:
            if isinstance(file, pathlib.Path):
                file.write_bytes(b"picture")
            elif options.get("format") == "svg":  # inside a page
                file.write('<g id="picture"></g>')
            else:
                draw(figure, file, **options)

        Figure.savefig = save  # type: ignore[method-assign]
    event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    counted: list[str] = []
    for name in WATCHED:
        watch(MlflowClient, name, counted, JOB["call"])
    for name in ("replace", "rename", "unlink"):
        watch(pathlib.Path, name, counted, JOB["call"])
    sys.argv = ["medtransfer", *JOB["words"]]
    try:
        runpy.run_module("medtransfer", run_name="__main__")
    finally:
        pathlib.Path("calls.txt").write_text(str(len(counted)))


main()
