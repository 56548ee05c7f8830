"""Seconds of writing and reading runs on a tracking server that is 50 ms away, relative to one request after the other.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/tracking_server.py`. A real server of MLflow keeps the runs in
SQLite; a proxy before it passes every request on 50 ms later. What `search` writes, runs of its settings, and what `report` reads,
curves of score runs most of which they do not have, is compared with MLflow's client, which sends every request after the answer
to the one before. `--sources` names the `src` of another version, which is timed alternately and must read the same.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

RUNS, SCORES, HELD, ASKED = 88, 6, 37, 148  # runs written; score runs read, the curves that each has, and those that are asked for
INNER = """
import hashlib, json, sys, time
from medtransfer import tracking
from medtransfer.environment import quiet_libraries
quiet_libraries()
experiment, runs, scores, held, asked = sys.argv[1], *map(int, sys.argv[2:])
tracking.connect()
begin = time.perf_counter()
records = [tracking.RunRecord(f"{experiment}-{n}", f"{experiment}-{n}", {"n": n}, {"tis": n / runs}) for n in range(runs)]
tracking.write_runs("search", records, "runs")
written = time.perf_counter()
ids = sorted(run.id for run in tracking.read_runs("score"))
curves = tracking.read_all_curves(ids, [f"m{n}" for n in range(asked)])
read = time.perf_counter()
digest = hashlib.sha256(repr(sorted((name, sorted(by_run.items())) for name, by_run in curves.items())).encode()).hexdigest()
print(json.dumps({"write": written - begin, "read": read - written, "digest": digest}))
"""
FILL = """
import sys
from medtransfer import tracking
scores, held = map(int, sys.argv[1:])
curves = {f"m{n}": {epoch: n + epoch / 7 for epoch in range(10)} for n in range(held)}
tracking.write_runs("score", [tracking.RunRecord(f"s{n}", f"s{n}", {"n": n}, {}, curves) for n in range(scores)], "runs")
"""


class Late(BaseHTTPRequestHandler):
    """Passes requests on after a delay."""

    protocol_version = "HTTP/1.1"
    server_address, seconds = "", 0.05

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.seconds)
        connection = http.client.HTTPConnection(self.server_address, timeout=60)
        connection.request(
            self.command, self.path, body, {**dict(self.headers), "Host": self.server_address, "Connection": "close"}
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _pass_on

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def start_server(folder: Path) -> "tuple[subprocess.Popen[bytes], str]":
    """Start MLflow's server, and return it with its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2],
               "--workers", "2", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=5):
                return process, address
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def run(code: str, words: tuple[object, ...], sources: str, address: str, folder: Path) -> str:
    """Run code of a version with the store; return what it prints last."""
    environment = os.environ | {"PYTHONPATH": sources, "MLFLOW_TRACKING_URI": f"http://{address}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().rpartition("\n")[2]


def one_by_one(address: str) -> dict[str, float]:
    """Return the seconds of as many requests by MLflow's client, each after the last one's answer."""
    client, begin = MlflowClient(f"http://{address}"), time.perf_counter()
    experiment = client.create_experiment(f"one by one {begin}")
    for number in range(RUNS):
        made = client.create_run(experiment, run_name=str(number)).info.run_id
        client.log_batch(made, [Metric("tis", number / RUNS, 0, 0)], [Param("n", str(number))])
        client.set_terminated(made)
    written = time.perf_counter()
    experiments = [found.experiment_id for found in client.search_experiments()]
    for score in client.search_runs(experiments, "tags.`medtransfer.stage` = 'score'"):
        for number in range(ASKED):
            client.get_metric_history(score.info.run_id, f"m{number}")
    return {"write": written - begin, "read": time.perf_counter() - written}


def main() -> None:
    """Fill a store, time every version and the requests one by one in turn, and print them."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sources", type=Path, help="the `src` of another version")
    chosen = parser.parse_args()
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    versions = {"ours": Path("src").resolve()} | ({"other version": chosen.sources.resolve()} if chosen.sources else {})
    with tempfile.TemporaryDirectory() as place:
        process, address = start_server(Path(place))
        try:
            run(FILL, (SCORES, HELD), str(versions["ours"]), address, Path(place))
            Late.server_address = address
            late = ThreadingHTTPServer(("127.0.0.1", 0), Late)
            late.daemon_threads = True
            threading.Thread(target=late.serve_forever, daemon=True).start()
            through = f"127.0.0.1:{late.server_port}"
            times: dict[str, list[dict[str, Any]]] = {name: [] for name in [*versions, "one by one"]}
            for number in range(chosen.rounds):
                for name, sources in versions.items():
                    words = (f"{name} {number}", RUNS, SCORES, HELD, ASKED)
                    times[name].append(json.loads(run(INNER, words, str(sources), through, Path(place))))
                times["one by one"].append(one_by_one(through))
        finally:
            process.terminate()
            process.wait()
    if len({one.get("digest") for found in times.values() for one in found} - {None}) > 1:
        raise SystemExit("the versions read different curves")
    best = {name: {key: min(one[key] for one in found) for key in ("write", "read")} for name, found in times.items()}
    for name, seconds in best.items():
        written = f"{RUNS} runs written in {seconds['write']:.1f} s"
        print(f"{name}: {written}, {ASKED} curves of {SCORES} runs read in {seconds['read']:.1f} s")
    print(f"ratio: {sum(best['ours'].values()) / sum(best['one by one'].values()):.2f}")


if __name__ == "__main__":
    main()
