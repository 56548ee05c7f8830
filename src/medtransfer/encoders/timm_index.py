"""Names of timm's models, and where their weights are published, without importing timm, which takes seconds.

The names are read from the source files of the installed version. Where weights are published is asked of timm once, and
remembered in the working tree.
"""

import importlib.metadata
import importlib.util
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from medtransfer.environment import own_folder
from medtransfer.errors import InputError
from medtransfer.progress import loading
from medtransfer.records import write_json
from medtransfer.records.json import parse_json

Places = dict[str, tuple[str | None, str | None]]  # repository and file of the published weights, by name with or without a tag
TAG = "."
REGISTERED = re.compile(r"^@register_model\ndef (\w+)", re.MULTILINE)
DEPRECATED = re.compile(r"register_model_deprecations\(\s*__name__,\s*\{(.*?)\}\s*\)", re.DOTALL)
KEY = re.compile(r"""['"]([\w.]+)['"]\s*:""")


@cache
def model_names() -> frozenset[str]:
    """Return the names of timm's models, deprecated ones too, without tags of published weights."""
    return frozenset(_names_in_sources() or (name.split(TAG, 1)[0] for name in _places()))


def is_model(name: str) -> bool:
    """Return whether timm has a model of a name, whatever its tag."""
    return name.split(TAG, 1)[0] in model_names()


def _names_in_sources() -> set[str]:
    """Find the functions that timm registers, and the names that it deprecates; none of a version that writes them otherwise."""
    found = set[str]()
    for root in importlib.util.find_spec("timm").submodule_search_locations or []:  # type: ignore[union-attr]
        for path in Path(root).glob("models/*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(REGISTERED.findall(text))
            found |= {name.split(TAG, 1)[0] for block in DEPRECATED.findall(text) for name in KEY.findall(block)}
    return found


def published_weights(name: str) -> Path:
    """Return the file of the published weights of a timm model, with or without a tag, in timm's cache.

    Raises:
        InputError: timm has no such weights, or they are not in the cache; nothing is downloaded.
    """
    check_tag(name)
    return cached_weights(name, *_places().get(name, (None, None)), "leave it out")


def check_tag(name: str) -> None:
    """Raise InputError if timm has the model of a name, but no weights of its tag."""
    places = _places()
    if is_model(name) and name not in places:
        tags = ", ".join(other for other in places if other.startswith(f"{name.split(TAG, 1)[0]}{TAG}")) or "none"
        raise InputError(f"expected the name of published weights, but timm has no {name!r}; its weights of this model: {tags}")


def cached_weights(name: str, repository: str | None, file: str | None, otherwise: str) -> Path:
    """Return the file of a model's published weights in timm's cache.

    Args:
        name: name of the model, for the message.
        repository: repository of the weights on the Hugging Face hub; None where they are not published.
        file: their file; None for the usual one.
        otherwise: what to do without them, for the message.

    Raises:
        InputError: it is not in the cache.
    """
    from huggingface_hub import try_to_load_from_cache

    file = file or "model.safetensors"
    path = try_to_load_from_cache(repository, file) if repository else None
    if isinstance(path, str):
        return Path(path)
    remedy = f"fetch them with `hf download {repository} {file}`, or" if repository else "timm publishes none for it:"
    raise InputError(
        f"expected the published weights of the timm model {name} in its cache, but they are not there and nothing is downloaded "
        f"here; {remedy} {otherwise}"
    )


@cache
def _places() -> Places:
    path = own_folder() / f"timm-{importlib.metadata.version('timm')}.json"
    if places := _read(path):
        return places
    places = _ask_timm()
    with suppress(OSError):  # a folder that nobody can write to: timm is asked again the next time
        write_json(path, places)
    return places


def _read(path: Path) -> Places:
    """Return the remembered names; none if they are not there, or damaged."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        places = {str(name): (repository, file) for name, (repository, file) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    sound = all(isinstance(part, str | None) for place in places.values() for part in place)
    whole = not any(isinstance(place, str) for place in found.values())
    return places if sound and whole else {}


def _ask_timm() -> Places:
    with loading("timm's list of models"):
        from medtransfer.encoders.timm_library import timm

    deprecated = getattr(timm.models._registry, "_model_entrypoints", {})  # `list_models` leaves them out, though they can be made
    places: Places = {}
    for name in [*timm.list_models(), *timm.list_models(pretrained=True), *deprecated]:
        config = timm.get_pretrained_cfg(name)
        places[name] = (config.hf_hub_id, config.hf_hub_filename) if config else (None, None)
    return places
