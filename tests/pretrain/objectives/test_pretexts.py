"""Every pretext task on a tiny encoder: curves, pictures, equal bits after an interruption, scores and early stops."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.pretrain.test_stage import interrupt, save_every_step

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.data.pixels import normalise_pixels
from medtransfer.data.pretext_views import View
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead
from medtransfer.errors import InputError
from medtransfer.pretrain.objectives.conrec import ConRecModel
from medtransfer.pretrain.objectives.reconstruction import Reconstruction, ReconstructionModel, target_of
from medtransfer.pretrain.recipe import recipe_of
from medtransfer.records import PreparedTarget, find_checkpoint, list_checkpoints, picture_path, read_tensors
from medtransfer.records.state import read_progress
from medtransfer.tasks import TASKS
from medtransfer.training.checkpoints import load_encoder, load_head

pytestmark = pytest.mark.long

HEADS = ("plain", "original", "mask", "visible")
ERRORS = {f"mse_{head}" for head in HEADS}
TERMS: dict[str, set[str]] = {
    "simclr": set(), "reconstruction": ERRORS, "conrec": {"contrast", *ERRORS}, "segmentation": set(), "masked": set(),
}  # fmt: skip
DRAWN = {"reconstruction", "conrec", "segmentation", "masked"}


@pytest.fixture
def params(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a maker of params of a pretext task, two epochs long."""

    def make(origin: str, **changes: Any) -> Params:
        source = {}
        if origin == "segmentation":
            source = {"prepare.targets.sample.validation": 0.34, "pretrain.source_root": "data/prepared/sample"}
            study.prepare(tiny_params(source))
        changed = {key.replace("__", "."): value for key, value in changes.items()}
        return tiny_params({"pretrain.origin": origin, "pretrain.epochs": 2, "pretrain.checkpoints": [1], **source, **changed})

    return make


def weights(folder: Path) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


@pytest.mark.parametrize("origin", TERMS)
def test_it_leaves_curves_and_pictures_and_resumes_to_the_same_bits(origin, params, tmp_path, monkeypatch):
    save_every_step(monkeypatch)
    small = {f"pretrain__origins__{origin}__batch_size": 8, "pretrain__micro_batch": 4}  # several steps an epoch
    folder = study.pretrain(params(origin, **small))
    whole, pictures = weights(folder), {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert set(whole) == {0, 1, 2} and len(set(whole.values())) == 3
    assert set(pictures) == ({f"epoch-00{epoch}.png" for epoch in whole} if origin in DRAWN else set())
    assert all(Image.open(folder / name).width > 100 for name in pictures)
    (run,) = tracking.read_runs("pretrain")
    trained = {"train_loss", "lr"} | {f"train_{term}" for term in TERMS[origin]}
    measured = {"val_loss"} | {f"val_{term}" for term in TERMS[origin]} | ({"source_dice"} if origin == "segmentation" else set())
    assert set(run.metrics) == trained | measured
    assert {name: sorted(tracking.read_curve(run.id, name)) for name in trained} == dict.fromkeys(trained, [1, 2])
    assert {name: sorted(tracking.read_curve(run.id, name)) for name in measured} == dict.fromkeys(measured, [0, 1, 2])
    tracking.fetch_artifacts(run.id, "checkpoints", tmp_path / "fetched")
    assert {path.name: path.read_bytes() for path in (tmp_path / "fetched").rglob("*.png")} == pictures
    recorded = "source_dice" if origin == "segmentation" else "val_loss"
    for epoch, info in list_checkpoints(folder).items():
        assert info.metrics == {recorded: tracking.read_curve(run.id, recorded)[epoch]} and info.source_classes == []
        assert load_head(*find_checkpoint(folder, epoch), load_encoder(*find_checkpoint(folder, epoch))) == NoHead(
            "its pretraining learned no classes"
        )
    curves = (folder / "curves.json").read_text()
    folder.rename("whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2, observed=False)
        study.pretrain(params(origin, **small), force=True)
    progress = read_progress(folder / ".resume.safetensors") or {}
    assert set(weights(folder)) == {0, 1, 2} and progress["epoch"] == 1 and progress["part"]["steps"] > 0
    assert progress["part"]["terms"].keys() == TERMS[origin]
    tracking.connect().delete_run(run.id)
    study.pretrain(params(origin, **small))
    assert (folder / "curves.json").read_text() == curves
    assert weights(folder) == whole and {path.name: path.read_bytes() for path in folder.glob("*.png")} == pictures


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name not in ("unet", "fused")])
@pytest.mark.parametrize("origin", ["simclr", "conrec", "masked"])
def test_every_encoder_can_be_pretrained(encoder, origin, params):
    folder = study.pretrain(params(origin, pretrain__encoder=encoder, pretrain__epochs=1, pretrain__checkpoints=[]))
    assert set(weights(folder)) == {0, 1}


def test_label_free_indicators_score_it_and_stop_it(params):
    """As with checkpoints of a classification, and the online stop sees what the scores say."""
    indicators = ["robustness", "rankme", "uniformity", "alignment"]
    made = params("conrec", score__indicators=indicators, score__origin="conrec", pretrain__stop_on="sample",
                  pretrain__stop_by="rankme")  # fmt: skip
    study.prepare(made)
    folder = study.pretrain(made)
    (run,) = tracking.read_runs("pretrain")
    seen = tracking.read_curve(run.id, "rankme")
    assert set(seen) == {int(epoch) for epoch in run.tags["saved"].split()} and "rankme" in run.tags["stopped"]
    study.score(made)
    (scored,) = tracking.read_runs("score")
    assert tracking.read_curve(scored.id, "rankme") == pytest.approx(seen)
    assert {"robustness", "uniformity", "alignment"} <= set(scored.metrics)
    assert load_encoder(*find_checkpoint(folder, 1)).name == "unet"


def test_a_rule_that_needs_the_source_accuracy_is_refused(params):
    made = params("simclr", pretrain__stop_on="sample", pretrain__stop_rule="with-accuracy")
    with pytest.raises(InputError, match="since the origin simclr learns no classes, but got with-accuracy; name another"):
        study.pretrain(made)
    assert not Path("checkpoints/unet-simclr/epoch-000.json").exists()


def test_heads_share_all_but_the_last_block():
    model = ReconstructionModel(build_encoder("unet", width=4, depth=3), HEADS, None)
    initialise(model, 3)
    outputs = model.eval()(torch.randn(2, 3, 16, 16))
    assert [tuple(one.shape) for one in outputs] == [(2, 3, 16, 16), (2, 3, 16, 16), (2, 1, 16, 16), (2, 3, 16, 16)]
    last = {id(p) for part in model.decoder.tail for p in part.parameters()}
    outputs[1].sum().backward()
    reached = {id(p) for p in model.parameters() if p.grad is not None}
    tails = [{id(p) for p in tail.parameters()} for tail in model.heads]
    assert tails[0] <= reached and not reached & (last | tails[1] | tails[2])
    assert reached >= {id(p) for p in model.encoder.parameters()} | {id(p) for p in model.decoder.parameters()} - last


def test_the_first_head_is_the_decoders_own():
    model = ConRecModel(build_encoder("unet", width=4, depth=3), list(HEADS), None).eval()
    initialise(model, 3)
    x = torch.randn(2, 3, 16, 16)
    projection, outputs = model(x)
    assert projection.shape == (2, 128) and torch.equal(outputs[0], model.decoder(model.encoder(x)))
    assert not torch.equal(outputs[0], outputs[1])


def test_targets_are_of_the_same_crop():
    view = View(*(torch.rand(2, channels, 8, 8) for channels in (3, 3, 3)), (torch.rand(2, 1, 8, 8) > 0.5).float())
    assert torch.equal(target_of("visible", view), target_of("plain", view) * (1 - target_of("mask", view)))
    assert torch.equal(target_of("original", view), view.original)


def test_the_loss_is_the_weighted_mean_of_the_heads(tiny_params):
    recipe = recipe_of(tiny_params({"pretrain.origin": "reconstruction"}).pretrain)
    view = View(*(torch.zeros(2, channels, 4, 4) for channels in (3, 3, 3, 1)))
    outputs = [torch.full((2, channels, 4, 4), value) for channels, value in ((3, 1.0), (3, 2.0), (1, 3.0), (3, 0.0))]
    loss, terms = Reconstruction(recipe, {}).loss(outputs, view)
    assert loss.item() == 100 * (1 + 4 + 9 + 0) / 4
    assert {name: value.item() for name, value in terms.items()} == {
        "mse_plain": 1.0, "mse_original": 4.0, "mse_mask": 9.0, "mse_visible": 0.0,
    }  # fmt: skip


def test_the_source_dice_is_pooled_over_the_validation_pixels(params):
    folder = study.pretrain(params("segmentation"))
    path, info = find_checkpoint(folder, 2)
    target = PreparedTarget.open(Path("data/prepared/sample"))
    model = build_segmenter(build_encoder(info.build, **info.arguments), len(target.info.classes)).eval()
    model.load_state_dict(read_tensors(path.with_suffix(".safetensors")))
    samples = TASKS["segmentation"].samples(
        target, "validation", augment=False, mean=info.input["mean"], std=info.input["std"], seed=0
    )
    images = [normalise_pixels(samples[i][0][None], samples.mean, samples.std) for i in range(len(samples))]
    predicted = torch.cat([model(image).argmax(1) for image in images]).numpy()
    truth = torch.stack([samples[i][1] for i in range(len(samples))]).numpy()
    dice = [
        2 * ((predicted == c) & (truth == c)).sum() / ((predicted == c).sum() + (truth == c).sum())
        for c in range(1, len(target.info.classes) + 1)
    ]  # fmt: skip
    assert info.metrics["source_dice"] == pytest.approx(sum(dice) / len(dice), abs=1e-6)


@pytest.mark.parametrize(
    ("origin", "changes", "message"),
    [
        ("segmentation", {"pretrain__size": 64}, "expected images of pretrain.size 64x64 in .*, but got 32x32"),
        ("segmentation", {"pretrain__source_root": "."}, "expected a prepared target to segment, but dataset.json does not exist"),
        ("segmentation", {"pretrain__origins__segmentation__loss": "mse"}, "expected a loss among dice, .*, but got 'mse'"),
        ("conrec", {"pretrain__origins__conrec__decoder": "swin"}, "expected the levels of a Swin encoder"),
        ("simclr", {"pretrain__micro_batch": 1}, "expected at least 2 images per device and forward pass for the origin simclr"),
        ("conrec", {"pretrain__origins__conrec__heads": ["mask", "mask"]}, "must name each head once"),
    ],
)
def test_what_cannot_be_learned_is_refused(origin, changes, message, params):
    with pytest.raises(InputError, match=message):
        study.pretrain(params(origin, **changes))


def test_it_is_continued_by_a_classification(params):
    study.pretrain(params("masked"))
    recipe = params("masked").pretrain.origins["continued"].model_dump() | {"from": "masked@1"}
    folder = study.pretrain(params("continued", pretrain__origins__continued=recipe, pretrain__epochs=1, pretrain__checkpoints=[]))
    before = load_encoder(*find_checkpoint(Path("checkpoints/unet-masked"), 1))
    assert state_hash(load_encoder(*find_checkpoint(folder, 0))) == state_hash(before)
    (parent,) = find_checkpoint(folder, 1)[1].parents
    assert (parent["kind"], parent["epoch"]) == ("masked", 1)


def test_its_checkpoints_are_averaged_with_the_statistics_of_pictures_without_labels(params, sample_data):
    """Pictures that lie in `train` and `val` themselves, which no classification reads."""
    for split in ("train", "val"):
        Path("flat", split).mkdir(parents=True)
        for number, picture in enumerate(sorted((sample_data / "pictures" / split).rglob("*.*"))[:20]):
            shutil.copy(picture, Path("flat", split, f"{number:02d}{picture.suffix}"))
    soup = {"kind": "soup", "of": "masked", "epochs": [1, 2], "images": 8}
    changes = {"pretrain__source_root": "flat", "pretrain__origins__soup": soup}
    study.pretrain(params("masked", **changes))
    folder = study.pretrain(params("soup", **changes))
    parts = [read_tensors(Path(f"checkpoints/unet-masked/epoch-00{epoch}.safetensors")) for epoch in (1, 2)]
    averaged, name = read_tensors(folder / "epoch-002.safetensors"), "encoder.stem.0.weight"
    torch.testing.assert_close(averaged[name], (parts[0][name] + parts[1][name]) / 2)
    assert not torch.allclose(averaged["encoder.stem.1.running_mean"], parts[1]["encoder.stem.1.running_mean"])


def test_pictures_of_lost_folders_come_back(params):
    folder = study.pretrain(params("masked"))
    shutil.rmtree(folder)
    study.pretrain(params("masked"))
    assert all(picture_path(folder, epoch).exists() for epoch in (0, 1, 2))
