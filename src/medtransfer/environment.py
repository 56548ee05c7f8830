"""The running environment: revision, library versions, working tree, cores, GPUs, log levels."""

import ctypes
import gc
import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from medtransfer import __version__
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256

PACKAGES = ("torch", "torchvision", "timm", "albumentations", "mlflow", "numpy", "pandas")
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA, of AMD, and of either in Windows' Linux
GC_THRESHOLD = 10_000  # new objects after which Python looks for garbage, 700 by default, which imports reach all the time


@cache
def git_revision(folder: Path) -> str:
    """Return the commit of the working tree at `folder`, with `-dirty` if it has changes, or `none` outside git.

    Git is asked once per process: what a process records is the code that it started with. Variables such as GIT_DIR, which
    hooks set, name another tree.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, env=variables, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "none"
    return answer.stdout.strip()


@cache
def versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that results depend on, keyed `version.<package>`."""
    libraries = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {f"version.{name}": version for name, version in {"medtransfer": __version__, **libraries}.items()}


@cache
def code_digest() -> str:
    """Return a digest of the package's files, which changes with every update, whatever the version says.

    Of a clone it has no part in links, such as that to the parameters, which are compared by themselves.
    """
    package = Path(__file__).parent
    found = (path for path in package.rglob("*") if path.parent.name != "__pycache__" and not path.is_symlink())
    files = sorted(path for path in found if path.is_file())
    return digest([[path.relative_to(package).as_posix(), file_sha256(path)] for path in files])


def workspace(folder: Path | None = None) -> Path:
    """Return the folder that holds the tracking store: the working tree, also from inside a queued DVC experiment.

    DVC runs queued experiments in a temporary copy under `.dvc/tmp/exps`, which it deletes afterwards.
    """
    here = folder.resolve() if folder else Path.cwd()  # which has no links
    for parent in (here, *here.parents):
        if parent.name == "exps" and parent.parts[-3:-1] == (".dvc", "tmp"):
            return parent.parents[2]
    return here


def require_own_code(folder: Path) -> None:
    """Refuse to run the code of another clone in a clone of the project, since results name the revision of the latter.

    Raises:
        InputError: `src/medtransfer` of the folder is not the running package.
    """
    expected, running = folder / "src" / "medtransfer", Path(__file__).parent
    if (expected / "__init__.py").exists() and not expected.samefile(running):
        raise InputError(
            f"expected to run the code of this folder, {expected}, but got that of {running}; "
            "run it as `PYTHONPATH=src python -m medtransfer`, or make an environment here with `make setup`"
        )


@cache
def machine() -> str:
    """Return the models of processor and GPUs, and the number of cores; durations compare between equal ones."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    gpus = [line.partition(":")[2].strip() for card in cards for line in _lines(str(card)) if line.startswith("Model:")]
    counted = [f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus)]
    return ", ".join([f"{os.cpu_count()} x {names[0] if names else platform.machine()}", *counted])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def count_cores() -> int:
    """Return the number of cores that this process may use, which a scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Return how many bytes of memory this process may take on Linux, where a scheduler may limit them; 0 elsewhere."""
    known = [1024 * int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    for line in _lines("/proc/self/cgroup"):
        number, kinds, group = line.split(":", 2)
        if "memory" in kinds.split(",") or number == "0":
            root, name = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if kinds else ("/sys/fs/cgroup", "memory.max")
            folder = Path(root, group.lstrip("/"))
            limits = [text for each in (folder, *folder.parents) for text in _lines(str(each / name))]
            known += [int(text) for text in limits if text.isdecimal()]
    return min(known, default=0)


def has_driver() -> bool:
    """Return whether a GPU's driver may be there; without one PyTorch, which takes seconds to load, would find none."""
    if sys.platform != "linux" or any(Path(driver).exists() for driver in DRIVERS):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def require_device(accelerator: str, precision: str) -> None:
    """Refuse, before PyTorch is loaded, what this machine has no device for; where there may be one PyTorch decides.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        precision: `32-true`, `bf16-mixed`, or `16-mixed` (GPU only).

    Raises:
        InputError: it takes a GPU, but there is no driver of one.
    """
    if has_driver():
        return
    if accelerator in ("gpu", "mps"):
        raise InputError(
            f"expected accelerator {accelerator!r} on this machine, but it has no driver of a GPU; set accelerator: auto"
        )
    if precision == "16-mixed":
        raise InputError(
            f"expected a GPU for precision 16-mixed, but got the CPU by accelerator {accelerator!r}; set precision: 32-true"
        )


@contextmanager
def gc_paused() -> Iterator[None]:
    """Within the block, collect no garbage, where next to none is made: looking for it takes a fifth of the time of imports."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def own_folder() -> Path:
    """Return the hidden folder of the working tree for locks, cached digests and the list of missed results."""
    return workspace() / ".medtransfer"


def quiet_libraries() -> None:
    """Show the project's own log lines, but only warnings of libraries; make threads and the garbage collector take less time.

    Threads that wait busily take the cores from those they wait for, as soon as another process wants them, too. PyTorch's can
    sleep instead, OpenCV's cannot, so it has one. Looking for garbage takes a sixth of the time of a short command, most of it
    while libraries are imported, which make none. None of this changes a result.
    """
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # its threads wait busily; read when it is imported
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines, and a request, for each run on a server
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medtransfer").setLevel(logging.INFO)
    for name in ("alembic", "mlflow", "urllib3", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their errors reach us as exceptions
