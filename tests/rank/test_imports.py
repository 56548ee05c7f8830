"""What makes a timm model a candidate of `race`: params that load."""

import re
from pathlib import Path

import pytest

from medtransfer.rank import imports
from medtransfer.working_folder import load


@pytest.mark.parametrize("kind", sorted(imports.IMPORTS))
def test_the_page_on_an_import_tells_of_its_kind(kind: str) -> None:
    pages = re.findall(r"docs/how-to/\w+\.md", text := imports.how_to_import(kind))
    origin = re.search(r"of the kind `(\w+)`", text)
    assert len(pages) == (origin is not None)
    for page in pages if origin else ():
        assert f"kind: {origin[1]}" in (Path(__file__).parents[2] / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "installed", "model", "kind"),
    [
        ("resnet50.a1_in1k", None, "resnet50.a1_in1k", "file"),
        ("tf_efficientnet_lite0.in1k", Path("lite0.pth"), "tf_efficientnet_lite0", "package"),
    ],
)
def test_the_snippet_of_a_timm_model_loads(
    name: str, installed: Path | None, model: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "find_installed", lambda name: installed)
    Path("imported.yaml").write_text(imports.timm_snippet(name))
    section = load([Path("imported.yaml")]).pretrain
    assert {"build": "timm", "name": model}.items() <= section.encoders[imports.encoder_key(name)].model_dump().items()
    assert section.origins["imagenet"].kind == kind
    key = imports.encoder_key(name)
    monkeypatch.setattr(imports, "repeated_options", lambda: " --params my.yaml")
    options = f"--encoder {key} --origin imagenet"
    for target, on in (("mine", "mine"), (None, "NAME")):
        steps = imports.timm_steps(name, target)
        assert f"pretrain --params my.yaml --params imported.yaml {options}`" in steps
        assert f"finetune --params my.yaml --params imported.yaml --target {on} {options} --epoch 0,300`" in steps
        race = f"`medtransfer race --params my.yaml --params imported.yaml --target {on}`"
        assert f"{race} takes the candidate checkpoints/{key}-imagenet" in steps
        assert ("prepare images and masks as a target NAME" in steps) == (target is None)
    load([Path("imported.yaml")], {"finetune.encoder": key, "finetune.origin": "imagenet", "finetune.epoch": 300})
