"""Run the commands whose results must not change; `python tests/golden/make.py` writes the golden files again.

`MEDTRANSFER_PUBLISHED` names the folder of the released result files; without it their goldens stay as they are.
"""

import csv
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GOLDEN = Path(__file__).parent
PROJECT = GOLDEN.parents[1]
OVERLAY = ["--params", str(GOLDEN / "params.yaml")]
STUDY = ("dice.csv", "tis.csv", "selectors.csv", "contrasts.csv")
RELEASED = ("cells.csv", "claims.csv", "selectors.csv", "contrasts.csv")
SETTING = ("distance", "margin", "level", "pooling")
FINETUNING = Path("models/sample/resnet50-simple/e004-decoder-s2/metrics.json")
CHECKPOINT = Path("checkpoints/unet-simple/epoch-004")


IN_TURN = """
import gc, json, sys
from medtransfer.cli import cli, quiet_libraries
quiet_libraries()
for words in json.loads(sys.argv[1]):
    cli.main(words, prog_name="medtransfer", standalone_mode=False)
gc.freeze()  # as the command itself does as it ends
"""


def medtransfer(place: Path, *commands: list[str]) -> str:
    """Run commands in a folder, in one process and with the folder's own tracking store; return what they print."""
    left_out = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", IN_TURN, json.dumps(commands)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_study(place: Path) -> None:
    """Walk the tiny study; then fine-tune a series on a second target, and search over both."""
    shutil.copy(PROJECT / "params.yaml", place)
    second = ["--target", "second", "--encoder", "resnet50"]
    medtransfer(
        place,
        ["demo", *OVERLAY],
        ["score", *OVERLAY, *second],
        ["finetune", *OVERLAY, *second, "--mode", "full", "--epoch", "0,2,4,6", "--seed", "1"],
        ["search", *OVERLAY],
    )


def run_replay(place: Path, published: Path) -> str:
    """Replay the released result files with the default parameters."""
    shutil.copy(PROJECT / "params.yaml", place)
    files = {name: str(published.resolve() / f"{name}_scores.csv") for name in ("downstream", "robustness")}
    return medtransfer(place, ["replay", *(word for name, file in files.items() for word in (f"--{name}", file))])


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as text."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def search_rows(place: Path) -> list[dict[str, str]]:
    """Return one row per setting of robustness tried over all targets, in order, without what belongs to a single trial."""
    rows = [row for row in read_rows(place / "search/trials.csv") if row.get("study", "search") == "search"]
    found = {tuple(row[name] for name in SETTING): row for row in rows}
    left_out = ("study", "trial", "indicator", "options")
    return [{name: text for name, text in found[key].items() if name not in left_out} for key in sorted(found)]


def search_result(place: Path) -> dict[str, Any]:
    """Return the winner and the held-out result as search.md prints them: one row per study and per target."""
    studies, held_out, *_ = markdown_tables((place / "search/search.md").read_text(encoding="utf-8"))
    return {"studies": studies, "held_out": held_out}


def markdown_tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Read every table of a Markdown text as rows of text."""
    for part in text.split("\n\n"):
        if part.startswith("|"):
            head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.strip().splitlines()]
            yield [dict(zip(head, line, strict=True)) for line in lines]


def tensors_digest(path: Path) -> str:
    """Digest the names, dtypes, shapes and bytes of a weights file's tensors, in the order of their names."""
    from safetensors.numpy import load_file

    whole = hashlib.sha256()
    for name, array in sorted(load_file(path).items()):
        whole.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return whole.hexdigest()


def checkpoint_facts(place: Path) -> dict[str, Any]:
    """Return the digest of a checkpoint's tensors, and its record."""
    path = place / CHECKPOINT
    return {"tensors": tensors_digest(path.with_suffix(".safetensors")), "record": read_json(path.with_suffix(".json"))}


def machine() -> dict[str, str]:
    """Return what decides how numbers are rounded: the processor, its vector units and the libraries that compute."""
    info = Path("/proc/cpuinfo")
    first = info.read_text(encoding="utf-8").partition("\n\n")[0] if info.exists() else ""
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    cpu = " ".join(facts.get(name, "") for name in ("model name", "cpu family", "model")).strip() or platform.processor()
    vectors = " ".join(sorted(flag for flag in facts.get("flags", "").split() if flag.startswith(("avx", "amx", "fma"))))
    return {"cpu": cpu, "vectors": vectors, "torch": version("torch"), "numpy": version("numpy")}


def write_json(path: Path, value: Any) -> None:
    """Write a golden JSON file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def copy(source: Path, names: tuple[str, ...], folder: Path) -> None:
    """Copy files into a golden folder."""
    folder.mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)


def make_study(place: Path) -> None:
    """Write the goldens of the tiny study."""
    run_study(place)
    copy(place / "reports", STUDY, GOLDEN / "study")
    rows = search_rows(place)
    assert len(rows) == 8, f"the search tried {len(rows)} of 8 settings"
    with (GOLDEN / "study/search.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(GOLDEN / "study/search.json", search_result(place))
    write_json(GOLDEN / "finetuning/metrics.json", {**read_json(place / FINETUNING), "seconds": 0})
    write_json(GOLDEN / "checkpoint/checkpoint.json", checkpoint_facts(place))
    write_json(GOLDEN / "machine.json", machine())


def make_released(place: Path, published: Path) -> None:
    """Write the goldens of the released files."""
    run_replay(place, published)
    copy(place / "replay", RELEASED, GOLDEN / "released")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        make_study(Path(folder))
    if published := os.environ.get("MEDTRANSFER_PUBLISHED"):
        with TemporaryDirectory() as folder:
            make_released(Path(folder), Path(published))
