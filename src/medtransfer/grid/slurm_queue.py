"""Slurm's commands: submit an array, and ask what is left in the queue.

Source of the options: sbatch(1), squeue(1).
"""

import logging
import socket
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from medtransfer.errors import InputError, TemporaryError

log = logging.getLogger("medtransfer")
SECONDS_TO_RECOVER, SECONDS_BETWEEN_TRIES = 300.0, 15.0  # of a controller that is restarted or busy
UNREACHABLE = (  # in the words of Slurm's commands, also on a host that no cluster is configured on
    "contact slurm controller", "timed out", "Connection refused", "Zero Bytes were transmitted", "configuration source",
    "lookup failure", "SRV lookup failed", "No route to host",
)  # fmt: skip


def submit_array(script: Path, needed: Sequence[str]) -> str:
    """Submit an array that starts once the needed tasks are done; return its id.

    Raises:
        InputError: sbatch refuses it.
        TemporaryError: the controller does not answer.
    """
    after = [f"--dependency=afterok:{':'.join(needed)}", "--kill-on-invalid-dep=yes"] if needed else []
    done = _call("sbatch", "--parsable", *after, str(script))
    if done.returncode == 0:
        return done.stdout.strip().split(";")[0]
    reason = _reason(done)
    if any(words in reason for words in UNREACHABLE):
        raise TemporaryError(
            f"expected Slurm's controller to take the jobs, but it does not answer on {socket.gethostname()} ({reason}); "
            f"run the same command on a login node, or when the controller is back: {_FOLLOWED}"
        )
    raise InputError(f"expected `sbatch` to work, but it says: {reason}; correct grid.slurm or grid.resources, or ask the cluster")


def queued(arrays: Collection[str]) -> set[str]:
    """Return the ids of the tasks of arrays that wait or run.

    Raises:
        TemporaryError: squeue has failed for `SECONDS_TO_RECOVER`.
    """
    if not arrays:
        return set()
    begin = time.monotonic()
    while True:
        done = _call("squeue", "--noheader", "--array", "--format=%i", "--jobs", ",".join(sorted(arrays)))
        reason = _reason(done)
        if done.returncode == 0:
            return set(done.stdout.split())
        if "Invalid job id" in reason:  # no such job is left
            return set()
        if time.monotonic() - begin >= SECONDS_TO_RECOVER:
            raise TemporaryError(
                f"Slurm's queue could not be read for {SECONDS_TO_RECOVER / 60:.0f} minutes: `squeue` says {reason}; {_FOLLOWED}"
            )
        log.warning("grid: `squeue` says %s; it is asked again", reason)
        time.sleep(SECONDS_BETWEEN_TRIES)


_FOLLOWED = "the arrays that are submitted go on, and the same command follows them again"


def _call(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True)


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join(done.stderr.split())[:300]
