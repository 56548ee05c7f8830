"""Generate small datasets in the original formats, so that the demo runs the real readers.

    heart/      ACDC: NIfTI patients of a beating ring with two cavities, training/ and testing/
    lungs/      COVID-QU-Ex: PNG folders of chests with opacities
    retina/     IDRiD: JPEG photographs and 1-bit palette TIFF masks of tiny dots
    pictures/   ImageFolder: ten classes of textured objects, the classification source

The regions differ in the scale and direction of their texture, not in brightness, and there are distractors of the same
brightness, so a threshold cannot segment them, but an encoder of textures can. The classes of pictures/ need the same
features.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records import atomic_folder
from medtransfer.seeds import derive_seed
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")
REVISION = 1
NOTE = "samples.json"
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", ".directory"}  # of file browsers


def write_samples(out: Path, seed: int, patients: int, lungs: int, retinas: int, pictures: int, force: bool = False) -> bool:
    """Write the generated datasets, or reuse them if they were made with the same settings and none of their files is lost.

    Files that somebody else put there are never removed.

    Args:
        out: folder of the four datasets; it is replaced entirely.
        seed: the same seed gives the same bytes.
        patients: number of patients in heart/, a quarter of them in testing/.
        lungs: number of chest pictures of the class COVID-19.
        retinas: number of fundus pictures.
        pictures: source pictures per class, a sixth of them for validation.
        force: whether to write them even if they exist.

    Returns:
        Whether they were written.

    Raises:
        InputError: a number is too small to fill all splits, or `out` holds something else that would be removed.
    """
    least = {"patients": 4, "lungs": 5, "retinas": 3, "pictures": 6}
    settings = {"seed": seed, "patients": patients, "lungs": lungs, "retinas": retinas, "pictures": pictures}
    for name, minimum in least.items():
        if settings[name] < minimum:
            raise InputError(f"expected at least {minimum} for samples.{name}, but got {settings[name]}; take more")
    with exclusive(out):
        note = out / NOTE
        if out.exists() and not note.is_file() and any(out.iterdir()):
            raise InputError(
                f"expected {out} to be empty or to hold earlier samples, but it holds other files; choose another `out`"
            )
        record, names = {"revision": REVISION, **settings}, _written_names(out)
        others = sorted(set(_list(out)) - set(names or ()))
        if not force and names is not None and _is_made(record, out, names):
            log.info("samples: %s already exists, made with the same settings; reused", out)
            if others:
                log.warning(
                    "samples: %s also holds %s that no command generated, such as %s", out, counted(len(others), "file"), others[0]
                )
            return False
        if others and names is None:
            raise InputError(
                f"expected {note} to list the generated files, which are to be written again, but it does not: it is damaged, or "
                f"of an earlier version and no longer fits {out}; move the folder away, or remove it if nothing in it is yours"
            )
        if others:
            raise InputError(
                f"expected nothing but generated files in {out}, which is to be written again, but got {out / others[0]}; move it "
                "to a folder of its own, which prepare.targets and pretrain.source_root may name"
            )
        tracking.require_work_allowed()
        if changed := _changed(record, out) if names is not None else "":
            log.warning(
                "samples: %s is made again, since these settings differ from those it was made with: %s; what was prepared from it "
                "and results on that are of other data", out, changed,
            )  # fmt: skip
        from medtransfer.prepare.samples.heart import write_heart
        from medtransfer.prepare.samples.lungs import write_lungs
        from medtransfer.prepare.samples.pictures import write_pictures
        from medtransfer.prepare.samples.retina import write_retina

        with atomic_folder(out) as partial:
            writers = {
                "heart": (write_heart, patients), "lungs": (write_lungs, lungs), "retina": (write_retina, retinas),
                "pictures": (write_pictures, pictures),
            }  # fmt: skip
            for name, (write, count) in track(writers.items(), "samples", len(writers), "datasets"):
                write(partial / name, derive_seed(seed, name), count)
            (partial / NOTE).write_text(_describe(record, partial, _list(partial)), encoding="utf-8")
        log.info("samples: written to %s", out)
        return True


def _changed(record: dict[str, int], folder: Path) -> str:
    """Return the settings that differ from those of earlier files."""
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return ", ".join(f"{name} {value} instead of {note.get(name)}" for name, value in record.items() if note.get(name) != value)


def _list(folder: Path) -> list[str]:
    """Return the files of a folder but for samples.json and what file browsers leave."""
    files = (path for path in folder.rglob("*") if (path.is_file() or path.is_symlink()) and path.name not in LITTER)
    return sorted(path.relative_to(folder).as_posix() for path in files if path != folder / NOTE)


def _written_names(folder: Path) -> list[str] | None:
    """Return the files that were generated, as samples.json lists them; None if that is not known.

    A samples.json of an earlier version has no list, but a digest of all files, by which nothing was added or lost.
    """
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if "names" in note:
            return [str(name) for name in note["names"]]
        names = [name for name in _list(folder) if "/" in name and not Path(name).name.startswith(".")]
        return names if note["files"] == _digest(folder, names) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_made(record: dict[str, int], folder: Path, names: Sequence[str]) -> bool:
    """Return whether the files were generated with these settings, and none is lost; an earlier version listed no names."""
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return bool({"names": list(names), **note} == json.loads(_describe(record, folder, names)))


def _describe(record: dict[str, int], folder: Path, names: Sequence[str]) -> str:
    """Return the contents of samples.json: the settings, and the names of the files with a digest of their sizes."""
    return json.dumps({**record, "files": _digest(folder, names), "names": list(names)}, indent=1) + "\n"


def _digest(folder: Path, names: Sequence[str]) -> str:
    return digest({name: (folder / name).stat().st_size for name in names if (folder / name).is_file()})
