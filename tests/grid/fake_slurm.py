"""The part of Slurm that the launcher uses, for machines without it: `sbatch` and `squeue` that run job arrays here, one at a time.

Install it as two executables of these names with FAKE_SLURM naming a folder. It keeps a line per submission in `submitted`, runs
the batch script of each task once what it waits for has ended well, drops those that wait for a failed one, and kills and starts
again the first task of a script that `preempted` names, as a preemption does.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["FAKE_SLURM"])


def options(words: list[str]) -> dict[str, str]:
    """Return the options of the command line and of the script, whose last word is the script."""
    lines = Path(words[-1]).read_text().splitlines()
    written = [word for line in lines if line.startswith("#SBATCH ") for word in shlex.split(line)[1:]]
    return {key: value for key, _, value in (word.removeprefix("--").partition("=") for word in [*written, *words[:-1]])}


def state(task: str) -> str:
    """Return the state of a task."""
    return (ROOT / task).read_text()


def sbatch(words: list[str]) -> None:
    """Submit an array."""
    given, job = options(words), len(list(ROOT.glob("*_0"))) + 1
    last = int(re.fullmatch(r"0-(\d+)(%\d+)?", given["array"])[1])
    with (ROOT / "submitted").open("a") as file:
        print(job, *words, file=file)
    for index in range(last + 1):
        (ROOT / f"{job}_{index}").write_text("PENDING")
    command = [sys.executable, __file__, "run", str(job), str(last), given.get("dependency", ""), given["output"], words[-1]]
    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(job)


def run(job: str, last: str, dependency: str, output: str, script: str) -> None:
    """Wait for what an array depends on, then run its tasks."""
    needs = [need for need in dependency.removeprefix("afterok:").split(":") if need]
    while not all(state(need) == "COMPLETED" for need in needs):
        if any(state(need) == "FAILED" for need in needs):
            for index in range(int(last) + 1):
                (ROOT / f"{job}_{index}").write_text("CANCELLED")
            return
        time.sleep(0.2)
    for index in range(int(last) + 1):
        code = start(job, index, output, script)
        (ROOT / f"{job}_{index}").write_text("FAILED" if code else "COMPLETED")


def start(job: str, index: int, output: str, script: str) -> int:
    """Run a task; return its exit code."""
    (ROOT / f"{job}_{index}").write_text("RUNNING")
    environment = {
        **os.environ,
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_JOB_ID": job,
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "1",
    }
    preempted = ROOT / "preempted"
    with Path(output.replace("%a", str(index))).open("a") as log:
        process = subprocess.Popen(["bash", script], env=environment, stdout=log, stderr=log)
        if preempted.exists() and preempted.read_text() in script:
            preempted.unlink()
            while not (Path(script).parent / f"begun-{index}").exists():  # it handles SIGTERM
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            (ROOT / "requeued").write_text(str(process.wait()))
            (ROOT / f"{job}_{index}").write_text("PENDING")
            return start(job, index, output, script)
        return process.wait()


def squeue(words: list[str]) -> None:
    """List the tasks that wait or run."""
    jobs = set(words[-1].split(","))
    for path in ROOT.glob("*_*"):
        if path.name.partition("_")[0] in jobs and path.read_text() in {"PENDING", "RUNNING", ""}:
            print(path.name)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:])
    else:
        {"sbatch": sbatch, "squeue": squeue}[Path(sys.argv[0]).name](sys.argv[1:])
