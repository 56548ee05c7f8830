"""What names a candidate, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.errors import InputError
from medtransfer.rank import candidates
from medtransfer.rank.candidates import read_candidates
from medtransfer.rank.identity import identify
from medtransfer.rank.loading import load
from medtransfer.records import Provenance
from medtransfer.training.checkpoints import save_checkpoint

TIMM = "test_resnet"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    encoder = build_encoder("unet", width=8, depth=5)
    initialise(encoder, 5)
    save_file(encoder.state_dict(), tmp_path / "my.safetensors")
    return tmp_path / "my.safetensors"


def read(texts: list[str], params: Params):
    return read_candidates(texts, params)


@pytest.mark.parametrize("started", [True, False])
def test_without_names_they_are_those_of_the_study_and_installed_weights(
    started: bool,
    tiny_params: Callable[..., Params],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    params = tiny_params({"pretrain.out": str(tmp_path)})
    monkeypatch.setattr(candidates, "find_installed", lambda name: "installed")
    installed = [candidates.INSTALLED, "random"]
    if started:
        (tmp_path / "unet-simple").mkdir()
        installed.insert(0, str(tmp_path / "unet-simple"))
    with caplog.at_level("INFO"):
        assert candidates.default_candidates(params) == installed
    assert ("there are no checkpoints of the study yet" in caplog.text) == (not started)
    monkeypatch.setattr(candidates, "find_installed", lambda name: None)
    assert candidates.default_candidates(params) == [str(tmp_path / "unet-simple")]


def test_a_file_is_loaded_into_the_architecture_that_it_fits(weights: Path, tiny_params: Callable[..., Params]):
    """The tests' params define a narrower `unet`; the file fits the one that has a name of its own."""
    params = tiny_params({"pretrain.encoders.wide": {"build": "unet", "width": 8, "depth": 5}})
    for text in (f"{weights}@wide", f"wide@{weights}"):
        (candidate,) = read([text], params)
        loaded = load(candidate, 0, 64, pickle=False)
        assert candidate.name == "my.safetensors@wide" and "55 of 55 encoder tensors matched" in loaded.audit
        x = torch.rand(1, 3, 32, 32)
        own = build_encoder("unet", width=8, depth=5)
        initialise(own, 5)
        assert all(torch.equal(a, b) for a, b in zip(own.eval()(x), loaded.encoder.eval()(x), strict=True))
    (other,) = read([f"{weights}@unet"], params)
    with pytest.raises(InputError, match="expected all .* tensors of the encoder unet in my.safetensors"):
        load(other, 0, 64, pickle=False)


def test_the_classifier_of_a_candidate_is_its_source_head(tmp_path: Path, tiny_params: Callable[..., Params]):
    network = timm.create_model(TIMM, num_classes=6)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    file, control = read([f"{TIMM}@{tmp_path / 'w.safetensors'}", f"random@{TIMM}"], tiny_params())
    loaded = load(file, 0, 64, pickle=False, with_head=True)
    assert isinstance(loaded.head, SourceHead) and "its classifier of 6 classes is read as a softmax" in loaded.audit
    assert torch.equal(loaded.head.layers[-1].weight, network.fc.weight)
    assert load(control, 0, 64, pickle=False, with_head=True).head == NoHead("random weights")


def test_random_adds_a_control_of_every_architecture_once(weights: Path, tiny_params: Callable[..., Params]):
    names = [c.name for c in read([f"{weights}@unet", f"{TIMM}.r160_in1k", "random", f"random@{TIMM}"], tiny_params())]
    assert names == ["my.safetensors@unet", f"{TIMM}.r160_in1k", f"random@{TIMM}", "random@unet"]


def test_random_weights_depend_on_the_seed_and_are_identified_by_it(tiny_params: Callable[..., Params]):
    (candidate,) = read([f"random@{TIMM}"], tiny_params())
    first, second, other = (load(candidate, seed, 64, pickle=False).encoder.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert identify(candidate, 1) == identify(candidate, 1) != identify(candidate, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet_fifty", "expected a candidate as the name of a timm model, .*got 'resnet_fifty'"),
        ("missing.safetensors@unet", "expected a weights file beside the @ .*neither side is a file"),
        ("{weights}", "expected the architecture of the weights in .*my.safetensors, as .*@ARCHITECTURE"),
        ("{weights}@vgg_sixteen", "expected an architecture among unet, .*got 'vgg_sixteen'"),
        ("{pickle}@unet", "is a pickle, which is read only on request"),
        ("{folder}", "expected checkpoints epoch-NNN.json"),
    ],
)
def test_what_names_no_candidate_is_refused(text: str, message: str, weights: Path, tiny_params: Callable[..., Params]):
    pickle = weights.with_suffix(".pth")
    torch.save({}, pickle)
    with pytest.raises(InputError, match=message):
        read([text.format(weights=weights, pickle=pickle, folder=weights.parent)], tiny_params())


def test_published_weights_that_are_not_there_are_named_with_how_to_fetch_them(tiny_params: Callable[..., Params]):
    (known,) = read([f"{TIMM}.r160_in1k"], tiny_params())
    with pytest.raises(InputError, match="hf download"):
        identify(known, 0)
    with pytest.raises(InputError, match="timm has no 'test_resnet.nonsense'; its weights of this model: test_resnet.r160_in1k"):
        read([f"{TIMM}.nonsense"], tiny_params())


def test_the_control_of_a_file_has_the_architecture_that_the_file_fits(weights: Path, tiny_params: Callable[..., Params]):
    """The file fits none of the narrow `unet` of the params, but the published one of the name `unet`, here made as wide."""
    params = tiny_params({"pretrain.encoders.unet": {"build": "unet", "width": 4, "depth": 5}})
    encoder = build_encoder("unet")
    initialise(encoder, 1)
    save_file(encoder.state_dict(), weights)
    file, control = read([f"{weights}@unet", "random"], params)
    levels = [[level.channels for level in load(one, 0, 64, pickle=False).encoder.levels] for one in (file, control)]
    assert control.name == "random@unet" and levels[0] == levels[1] == [level.channels for level in encoder.levels]


def test_a_fusion_joins_candidates_with_their_own_weights_and_images(weights: Path, tiny_params: Callable[..., Params]):
    params = tiny_params({"pretrain.encoders.wide": {"build": "unet", "width": 8, "depth": 5}})
    names = [f"{weights}@wide", f"random@{TIMM}"]
    *singles, fusion, control = read([*names, f"fused:{names[0]}+{names[1]}", "random"], params)[:4]
    assert (fusion.name, fusion.sources) == (f"fused:my.safetensors@wide+random@{TIMM}", tuple(singles))
    both, alone = load(fusion, 0, 64, pickle=False), [load(single, 0, 64, pickle=False) for single in singles]
    assert both.contract["mean"] == [0.0] * 3 and "55 of 55 encoder tensors matched" in both.audit
    images, parts = torch.rand(2, 3, 64, 64), []
    for one in alone:
        mean, std = (torch.tensor(one.contract[name])[:, None, None] for name in ("mean", "std"))
        parts.append(one.encoder.eval()((images - mean) / std)[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(both.encoder.eval()(images)[-1].mean(dim=(2, 3)), torch.cat(parts, dim=1))
    assert identify(fusion, 0) not in {identify(single, 0) for single in singles}
    assert control.name == "random@wide"
    (random,) = [c for c in read([fusion_of(weights), "random"], params) if c.is_random]
    assert random.name == f"fused:random@wide+random@{TIMM}"


def fusion_of(weights: Path) -> str:
    return f"fused:{weights}@wide+random@{TIMM}"


@pytest.mark.parametrize("sources", ["{folder}+random@unet", "random@unet+random", "fused:random@unet+random@unet"])
def test_a_source_of_a_fusion_is_one_encoder(sources: str, tmp_path: Path, tiny_params: Callable[..., Params]):
    model = nn.ModuleDict({"encoder": build_encoder("unet", width=4, depth=4)})
    for epoch in (0, 1):
        provenance = Provenance(
            encoder="unet", origin="simple", kind="supervised", epoch=epoch, source="s", source_classes=[], seed=1, pretraining="p",
            input={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"},
        )  # fmt: skip
        save_checkpoint(tmp_path / "unet-simple", model, provenance)
    with pytest.raises(InputError, match="expected one encoder by each name of the candidate fused:"):
        read([f"fused:{sources.format(folder=tmp_path / 'unet-simple')}"], tiny_params())


def test_a_fusion_of_an_encoder_with_itself_is_refused_but_not_of_random_weights(tiny_params: Callable[..., Params]):
    # two encoders of one architecture have random weights of one name as their control
    params = tiny_params({"pretrain.encoders.wide": {"build": "unet", "width": 8, "depth": 5}})
    assert len(read(["fused:random@wide+random@wide"], params)) == 1
    with pytest.raises(InputError, match=f"expected different encoders in the candidate .* but '{TIMM}' names one of them again"):
        read([f"fused:{TIMM}+random@wide+{TIMM}"], params)


def test_checkpoints_of_folders_of_one_name_are_named_by_their_paths(tmp_path: Path, tiny_params: Callable[..., Params]):
    model = nn.ModuleDict({"encoder": build_encoder("unet", width=4, depth=4)})
    for folder in ("a/unet-simple", "b/unet-simple"):
        provenance = Provenance(
            encoder="unet", origin="simple", kind="supervised", epoch=1, source="s", source_classes=[], seed=1, pretraining="p",
            input={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"},
        )  # fmt: skip
        save_checkpoint(tmp_path / folder, model, provenance)
    candidates = read([str(tmp_path / "a/unet-simple"), str(tmp_path / "b/unet-simple")], tiny_params())
    assert [c.name.split("/")[-2] for c in candidates] == ["a", "b"]


def test_epoch_0_of_a_pretraining_that_continues_is_no_random_control(tmp_path: Path, tiny_params: Callable[..., Params]):
    parent = {"encoder": "unet", "origin": "simple", "kind": "supervised", "source": "s", "epoch": 3, "weights": "ab"}
    provenance = Provenance(
        encoder="unet", origin="xrays", kind="continued", epoch=0, source="t", source_classes=[], seed=1, pretraining="p",
        input={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}, parents=[parent],
    )  # fmt: skip
    save_checkpoint(tmp_path / "unet-xrays", nn.ModuleDict({"encoder": build_encoder("unet", width=4, depth=4)}), provenance)
    first, control = read([str(tmp_path / "unet-xrays"), "random"], tiny_params())
    assert (first.name, first.is_random, control.name, control.is_random) == (
        "unet-xrays e000 (simple)",
        False,
        "random@unet",
        True,
    )


def test_a_path_written_in_two_ways_is_one_candidate(weights: Path, tiny_params: Callable[..., Params], monkeypatch):
    monkeypatch.chdir(weights.parent)
    assert len(read(["my.safetensors@unet", f"{weights}@unet", "./my.safetensors@unet"], tiny_params())) == 1


def test_the_folder_of_all_pretrainings_is_refused_with_one_of_them(tmp_path: Path, tiny_params: Callable[..., Params]):
    for name in ("unet-simple", "unet-advanced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "epoch-000.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=f"but got {tmp_path}, which has such folders .* such as {tmp_path}/unet-advanced$"):
        read([str(tmp_path)], tiny_params())


@pytest.mark.parametrize(
    ("names", "metric"),
    [(["source_accuracy"], "accuracy"), (["source_auc"], "AUC"), (["source_dice"], None),
     (["source_auc", "source_accuracy"], "accuracy")],
)  # fmt: skip
def test_what_a_checkpoint_reached_on_its_source_keeps_its_name(
    names: list[str], metric: str | None, tmp_path: Path, tiny_params: Callable[..., Params]
):
    model = nn.ModuleDict({"encoder": build_encoder("unet", width=4, depth=4)})
    provenance = Provenance(
        encoder="unet", origin="simple", kind="supervised", epoch=1, source="s", source_classes=[], seed=1, pretraining="p",
        input={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}, metrics=dict.fromkeys(names, 0.75),
    )  # fmt: skip
    save_checkpoint(tmp_path / "unet-simple", model, provenance)
    (candidate,) = (one for one in read([str(tmp_path / "unet-simple")], tiny_params()) if not one.is_random)
    loaded = load(candidate, 0, 64, pickle=False)
    assert (loaded.source_accuracy, loaded.source_metric) == ((0.75, metric) if metric else (None, "accuracy"))
