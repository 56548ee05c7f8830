"""The weight-load audit: what loads, what is refused and what the refusal says; damaged files are in tests/malformed."""

import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medtransfer.encoders import ENCODERS
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


def trained(encoder: torch.nn.Module) -> dict[str, Tensor]:
    """Return the tensors of an encoder, floats moved a little."""
    return {n: t + 0.01 if t.is_floating_point() else t.clone() for n, t in encoder.state_dict().items()}


@EVERY
def test_whole_weights_load_and_heads_are_left_out(name, tiny):
    encoder = tiny(name)
    tensors = {key: value for key, value in trained(encoder).items() if "num_batches" not in key}  # PyTorch's, of no effect
    heads = {"fc.weight": torch.ones(2), "head.fc.bias": torch.ones(2), "classifier.1.weight": torch.ones(2)}
    audit = load_encoder_weights(encoder, {**tensors, **heads}, source="file")
    assert audit.complete and audit.mapping == "direct" and audit.source == "file"
    assert audit.matched == audit.total == len(tensors) and audit.changed == 1.0
    state = encoder.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in tensors.items())
    assert audit.left_out == tuple(heads)
    assert "3 left out (fc.weight, head.fc.bias, classifier.1.weight)" in str(audit)


@EVERY
def test_half_the_tensors_are_refused_and_nothing_is_set(name, tiny):
    encoder = tiny(name)
    before = state_hash(encoder)
    everything = {key: value for key, value in trained(encoder).items() if "num_batches" not in key}
    half = dict(list(everything.items())[: len(everything) // 2])
    with pytest.raises(InputError) as error:
        load_encoder_weights(encoder, half, source="half.safetensors")
    missing = len(everything) - len(half)
    first = list(everything)[len(half)]
    for said in (f"{len(half)} matched", f"{missing} are missing ({first}", "half.safetensors", "allow_partial", name):
        assert said in str(error.value)
    assert state_hash(encoder) == before


def test_half_the_tensors_load_when_that_is_allowed(tiny):
    encoder = tiny("unet")
    half = {key: value for key, value in trained(encoder).items() if key.startswith(("stem", "stages.0"))}
    audit = load_encoder_weights(encoder, half, source="half", allow_partial=True)
    assert not audit.complete and audit.missing[0].startswith("stages.1") and 0 < audit.changed < 0.5
    given = sum(half[key].numel() for key, _ in encoder.named_parameters() if key in half)
    assert audit.changed == pytest.approx(given / sum(p.numel() for p in encoder.parameters()))


@pytest.mark.parametrize(("name", "other"), [("unet", "swin"), ("resnet50", "unet"), ("swin", "resnet50")])
@pytest.mark.parametrize("allow_partial", [False, True])
def test_another_architecture_is_refused(name, other, allow_partial, tiny):
    with pytest.raises(InputError, match=rf"encoder {name} in file .* 0 matched.*unexpected"):
        load_encoder_weights(tiny(name), trained(tiny(other)), source="file", allow_partial=allow_partial)


@EVERY
@pytest.mark.parametrize(
    "prefix", ["module.", "encoder.", "model.backbone.", "_orig_mod.module.", "module.encoder_q.", "visual.trunk."]
)
def test_a_shared_prefix_of_tensor_names_is_removed(name, prefix, tiny):
    encoder = tiny(name)
    tensors = {prefix + key: value for key, value in trained(encoder).items()}
    others = {f"{prefix}head.weight": torch.ones(2), "decoder.0.weight": torch.ones(2), "queue": torch.ones(2)}
    audit = load_encoder_weights(encoder, {**tensors, **others}, source="file")
    assert audit.complete and audit.prefix == prefix and audit.left_out == tuple(others)
    assert f"after the prefix {prefix}" in str(audit) and "decoder.0.weight" in str(audit)
    assert all(torch.equal(tensor, tensors[prefix + key]) for key, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("copy", ["encoder_k.", "student.", "teacher.backbone.", "momentum_encoder.", "model_ema.", "target_net."])
def test_a_momentum_copy_or_student_is_taken_only_when_named(copy, tiny):
    encoder = tiny("unet")
    before = state_hash(encoder)
    other = {copy + key: value for key, value in trained(encoder).items()}
    with pytest.raises(InputError, match=rf"0 matched.* or set prefix: {re.escape(copy)} in the origin"):
        load_encoder_weights(encoder, other, source="file")
    assert state_hash(encoder) == before
    trained_one = {f"encoder_q.{key}": value + 1 for key, value in trained(encoder).items()}
    both = {**other, **trained_one}
    assert load_encoder_weights(encoder, both, source="file").prefix == "encoder_q."
    audit = load_encoder_weights(encoder, both, source="file", prefix=copy.split(".")[0] + ".")
    assert audit.prefix == copy and audit.left_out == tuple(trained_one)
    assert all(torch.equal(tensor, other[copy + key]) for key, tensor in encoder.state_dict().items())


def test_a_file_that_holds_the_encoder_twice_is_refused_until_one_is_named(tiny):
    encoder = tiny("unet")
    tensors = {prefix + key: value for prefix in ("encoder.", "backbone.") for key, value in trained(encoder).items()}
    with pytest.raises(InputError, match=r"once in file, but .* 'backbone\.' and 'encoder\.'; name the one you want by `prefix`"):
        load_encoder_weights(encoder, tensors, source="file")
    assert load_encoder_weights(encoder, tensors, source="file", prefix="backbone.").prefix == "backbone."


def test_a_first_convolution_of_one_channel_is_explained(tiny):
    grey = {**trained(tiny("unet")), "stem.0.weight": torch.ones(4, 1, 3, 3)}
    with pytest.raises(InputError, match=r"another shape \(stem\.0\.weight\).* or set input with channels: grey"):
        load_encoder_weights(tiny("unet"), grey, source="file")


def test_bgr_and_grey_convolutions_give_the_same_maps_on_rgb(tiny):
    encoder, picture = tiny("unet"), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    bgr = trained(encoder)
    load_encoder_weights(encoder, bgr, source="file", channels="BGR")
    swapped = encoder.eval()(picture)[0]
    load_encoder_weights(encoder, bgr, source="file")
    torch.testing.assert_close(swapped, encoder.eval()(picture.flip(1))[0])
    grey, weight = picture[:, :1], torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    load_encoder_weights(encoder, {**bgr, "stem.0.weight": weight}, source="file", channels="grey")
    convolved = torch.nn.functional.conv2d(grey, weight, padding=1)
    torch.testing.assert_close(encoder.stem[0](grey.expand(-1, 3, -1, -1)), convolved)


def test_other_shapes_types_and_depths_are_refused(tiny):
    encoder = tiny("unet")
    whole_numbers = {**trained(encoder), "stem.0.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8)}
    for build, tensors, message in (
        ("unet", trained(tiny("unet", width=8)), r"0 matched.*have another shape \(stem\.0\.weight"),
        ("unet", whole_numbers, r"1 have another shape \(stem\.0\.weight\)"),
        ("swin", trained(tiny("swin", depths=[2, 2, 6, 2])), r"0 are missing.*unexpected \(layers\.2\.blocks\.2"),
    ):
        with pytest.raises(InputError, match=message):
            load_encoder_weights(tiny(build), tensors, source="file")


def test_weights_that_change_nothing_are_refused_unless_declared(tiny):
    encoder = tiny("resnet50")
    same = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(InputError, match="differ from the initialisation of resnet50 in file"):
        load_encoder_weights(encoder, same, source="file")
    assert load_encoder_weights(encoder, same, source="file", allow_unchanged=True).changed == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, tiny):
    encoder = tiny("unet")
    before, tensors = state_hash(encoder), trained(encoder)
    tensors["stem.0.weight"][0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"finite weights in file.*stem\.0\.weight"):
        load_encoder_weights(encoder, tensors, source="file")
    assert state_hash(encoder) == before


def test_weights_that_are_constant_throughout_are_refused(tiny):
    """A single tensor may be, as one that no step has changed yet."""
    encoder = tiny("unet")
    before, tensors = state_hash(encoder), trained(encoder)
    constant = {name: torch.zeros_like(tensor) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    with pytest.raises(
        InputError, match=r"trained weights in file, but all \d+ tensors of weights have one value throughout, such as 0"
    ):
        load_encoder_weights(encoder, constant, source="file")
    assert state_hash(encoder) == before
    first = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    load_encoder_weights(encoder, {**tensors, first: constant[first]}, source="file")


def test_a_named_mapping_is_the_only_one_tried_and_must_be_known(tiny):
    encoder = tiny("swin")
    with pytest.raises(InputError, match="direct, torchvision-swin, microsoft-swin.*'keras'"):
        load_encoder_weights(encoder, {}, source="file", mapping="keras")
    with pytest.raises(InputError, match="names read as microsoft-swin"):
        load_encoder_weights(encoder, trained(encoder), source="file", mapping="microsoft-swin")


@pytest.mark.parametrize("keys", [(), ("state_dict",), ("model",), ("state_dict", "model"), ("model_state_dict",)])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pth.tar", ".th"])
def test_a_state_dict_is_found_in_a_pickle_that_is_asked_for(keys, suffix, tmp_path):
    value = {"module.a": torch.ones(2), "b": torch.zeros(1)}
    for key in reversed(keys):
        value = {key: value, "epoch": 3, "args": Namespace(lr=0.1, out=Path("runs")), "best": np.float32(0.9)}
    path = tmp_path / f"w{suffix}"
    torch.save(value, path)
    assert read_weights(path, allow_pickle=True).keys() == {"module.a", "b"}
    with pytest.raises(InputError, match="pickle: true in its origin"):
        read_weights(path)


def test_a_pickled_model_is_told_to_save_its_tensors(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "w.pth")
    with pytest.raises(InputError) as refused:
        read_weights(tmp_path / "w.pth", allow_pickle=True)
    assert str(refused.value).endswith(
        "but it holds an object torch.nn.modules.container.Sequential; save the tensors alone, as "
        "`torch.save(model.state_dict(), file)` does"
    )


def test_names_of_several_state_dicts_begin_with_their_own(tmp_path):
    one = torch.ones(1)
    moments = {"state": {0: {"exp_avg": one}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"student": {"a": one}, "teacher": {"backbone": {"a": one}}, "optimizer": moments, "epoch": 3}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth", allow_pickle=True).keys() == {"student.a", "teacher.backbone.a"}
