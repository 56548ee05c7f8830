"""Run the jobs of one task of a Slurm job array: `python -m medtransfer.grid.slurm_task FOLDER TASK` writes their outcomes."""

import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError
from medtransfer.grid.slurm import read_batch
from medtransfer.grid.store_settings import use_store
from medtransfer.grid.worker import BACK, DONE, FAILED, RETRY, Outcome, attempt
from medtransfer.launchers import forget_launcher
from medtransfer.records.atomic import write_text
from medtransfer.signals import stop_on_sigterm, stop_though_ignored


def main(folder: Path, task: int, first: int | None = None) -> int:
    """Run the jobs of a task; those that share its GPU in a process each.

    Args:
        folder: folder of the batch.
        task: number of the task.
        first: number among the jobs that run beside each other, in a process for one of them; None in the task's own.

    Returns:
        0 if all jobs are done, so that tasks which need this one start.
    """
    quiet_libraries()
    stop_on_sigterm()
    stop_though_ignored()
    forget_launcher()
    batch = read_batch(folder)
    if batch is None:
        print(f"medtransfer: expected the jobs of a grid in {folder}, but they cannot be read; submit them again", file=sys.stderr)
        return 2
    params, jobs, per_task, beside = batch
    numbers = list(range(task * per_task, min((task + 1) * per_task, len(jobs))))
    (folder / f"begun-{task}").touch()
    try:
        use_store(folder, "slurm")
    except InputError as error:
        print(f"medtransfer: {error}", file=sys.stderr)
        for path in (folder / f"outcome-{number}.json" for number in numbers):
            if not path.exists():
                write_text(path, json.dumps(asdict(Outcome(FAILED, str(error), 0.0))))
        return 2
    if first is None and beside > 1:
        return _beside(folder, task, min(beside, len(numbers)))
    code = 0
    for number in numbers[first or 0 :: beside]:
        path = folder / f"outcome-{number}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["status"] == DONE:
            continue  # by this task before it was interrupted
        outcome = attempt(params, jobs[number])
        write_text(path, json.dumps(asdict(outcome)))
        if outcome.status in (FAILED, RETRY, BACK):
            print(f"medtransfer: {jobs[number].name} failed: {outcome.reason}", file=sys.stderr)
            code = 1
    return code


def _beside(folder: Path, task: int, number: int) -> int:
    command = [sys.executable, "-m", "medtransfer.grid.slurm_task", str(folder), str(task)]
    processes = [subprocess.Popen([*command, str(first)], env=dict(os.environ)) for first in range(number)]
    try:
        return max(process.wait() for process in processes)
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None))
    finally:
        gc.freeze()  # the interpreter looks for garbage as it ends, which takes seconds where PyTorch is loaded
