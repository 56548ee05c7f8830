"""Names of transforms are those that albumentations has, which is not imported for them."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medtransfer.data import transform_names
from medtransfer.data.transform_names import check_names
from medtransfer.data.transforms import GROUPS, SINGLE
from medtransfer.errors import InputError


@pytest.fixture(autouse=True)
def forgotten() -> None:
    transform_names._exported_names.cache_clear()


def test_every_transform_is_known() -> None:
    known = transform_names._exported_names()
    assert set(known) >= {*SINGLE, *GROUPS} and len(known) < 1.3 * len({*SINGLE, *GROUPS})
    for name in (*SINGLE, *GROUPS):
        check_names([{name: {}}])


@pytest.mark.parametrize(
    "specification",
    [
        [{"HorizontalFlip": {}}, {"VerticalFlipp": {}}],
        [{"OneOf": {"transforms": [{"GaussNoise": {}}, {"Sequential": {"transforms": [{"VerticalFlipp": {"p": 1}}]}}]}}],
    ],
)
def test_a_name_that_no_transform_has_is_refused(specification: list) -> None:
    said = "expected a transform of albumentations in finetune.augmentation, such as VerticalFlip, .*, but got 'VerticalFlipp'"
    with pytest.raises(InputError, match=said):
        check_names(specification)


@pytest.mark.parametrize("parts", [None, 3, ["Blur"], [{"Blurr": 3}], {"Blurr": {}}])
def test_the_form_of_a_group_is_checked_when_it_is_built(parts: object) -> None:
    check_names([{"OneOf": {"transforms": parts}}])  # type: ignore[dict-item]


@pytest.mark.parametrize("content", [None, "import torch\n", "__all__ = []\n"])
def test_nothing_is_refused_where_the_package_is_laid_out_otherwise(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "augmentations").mkdir()
        (tmp_path / "augmentations/transforms.py").write_text(content)
    places = None if content is None else SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(transform_names, "find_spec", lambda name: places)
    check_names([{"Anything": {}}])


def test_neither_albumentations_nor_pytorch_is_imported() -> None:
    code = (
        "import sys; from medtransfer.data.transform_names import _exported_names\n"
        "assert _exported_names() and not {'albumentations', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
