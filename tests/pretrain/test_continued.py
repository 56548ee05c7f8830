"""Continual pretraining: where it starts, what it learns and records, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.tasks.label_targets import relabel

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.data.pixels import normalise_pixels
from medtransfer.data.prepared_images import PreparedImages
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.source_head import NoHead
from medtransfer.errors import InputError
from medtransfer.pretrain import trainer
from medtransfer.pretrain.start import check_chain
from medtransfer.records import IGNORE, CellName, CheckpointInfo, PreparedTarget, find_checkpoint, list_checkpoints, read_tensors
from medtransfer.records.lineage import are_random, chain_name, draw_chain
from medtransfer.training.checkpoints import load_encoder, load_head

pytestmark = pytest.mark.long

SIMPLE, CHEST, DEEPER = (Path(f"checkpoints/unet-{name}") for name in ("simple", "chest", "deeper"))
RECIPE = {
    "randaugment": False, "cutmix": 0.0, "mixup": 0.0, "erasing": 0.25, "warmup": 1, "batch_size": 8, "seed": None,
}  # fmt: skip


def continued(start: str | None, source: str | None = None) -> dict[str, Any]:
    root = source and f"data/prepared/{source}"
    return {"kind": "continued", "from": start, "source": source, "source_root": root, **RECIPE}


@pytest.fixture(scope="module")
def params(tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    """Return a maker of params with two origins that continue: `chest` from `simple`, `deeper` from `chest`."""

    def make(origin: str, **changes: Any) -> Params:
        return tiny_params({
            "prepare.targets.sample.validation": 0.34, "pretrain.epochs": 1, "pretrain.checkpoints": [],
            "pretrain.origins.chest": continued("simple@1", "several"), "pretrain.origins.deeper": continued("chest", "binary"),
            "pretrain.origin": origin, **{key.replace("__", "."): value for key, value in changes.items()},
        })  # fmt: skip

    return make


@pytest.fixture(scope="module")
def chain(shared_workplace: Path, params: Callable[..., Params]) -> Path:
    """Pretrain on pictures, then on three labels, then on one; the last command makes those before it."""
    target = study.prepare(params("simple"))
    relabel(target, "multilabel", Path("data/prepared/several"))
    relabel(target, "binary", Path("data/prepared/binary"))
    assert study.pretrain(params("deeper")) == DEEPER
    return shared_workplace


def encoder_hash(folder: Path, epoch: int) -> str:
    return state_hash(load_encoder(*find_checkpoint(folder, epoch)))


def test_epoch_0_is_the_parent_under_a_new_head(chain):
    assert encoder_hash(CHEST, 0) == encoder_hash(SIMPLE, 1)
    assert encoder_hash(DEEPER, 0) == encoder_hash(CHEST, 1)  # the last one, since no epoch is named
    assert len({encoder_hash(CHEST, 0), encoder_hash(CHEST, 1), encoder_hash(DEEPER, 1)}) == 3
    heads = {folder: read_tensors(folder / "epoch-000.safetensors")["head.weight"].shape[0] for folder in (SIMPLE, CHEST, DEEPER)}
    assert heads == {SIMPLE: 10, CHEST: 3, DEEPER: 1}


def test_the_lineage_is_carried_on(chain):
    parents = [info for _, info in (find_checkpoint(SIMPLE, 1), find_checkpoint(CHEST, 1))]
    expected = [
        {"encoder": "unet", "origin": info.origin, "kind": info.kind, "source": info.source, "epoch": 1, "weights": info.weights}
        for info in parents
    ]
    for epoch, info in list_checkpoints(DEEPER).items():
        assert (info.parents, info.kind, info.source, info.source_classes) == (expected, "continued", "binary", ["large"])
        assert info.lineage == [f"unet-{one.origin}/epoch-001.safetensors {one.weights}" for one in parents], epoch
        assert info.input == parents[0].input
    runs = {run.params["origin"]: run.params for run in tracking.read_runs("pretrain")}
    assert runs["deeper"]["chain"] == "simple>several>binary" and json.loads(runs["deeper"]["parents"]) == expected
    assert runs["chest"]["chain"] == "simple>several" and "chain" not in runs["simple"]


def test_a_chain_is_drawn():
    parents: Any = [
        {"encoder": "unet", "origin": "supervised", "kind": "file", "source": "imagenet", "epoch": 90, "weights": "ab" * 32},
        {"encoder": "unet", "origin": "chest", "kind": "continued", "source": "chestxray14", "epoch": 5, "weights": "cd" * 32},
    ]
    assert chain_name(parents[:1], "chestxray14") == "supervised>chestxray14"
    random = [{**parents[0], "epoch": 0}, parents[1]]
    assert chain_name(random[:1], "chestxray14") == "random>chestxray14"
    assert chain_name(random, "chexpert") == "random>chestxray14>chexpert"
    assert [are_random(found) for found in ([], random[:1], random, parents)] == [True, True, False, False]
    assert draw_chain(random, "chexpert", "unet-mine")[0] == "random: unet-supervised, epoch 0 (abababababab)"
    assert draw_chain(parents, "chexpert", "unet-mine", ["heart, full"]) == [
        "imagenet: unet-supervised, epoch 90 (abababababab)",
        "└─ chestxray14: unet-chest, epoch 5 (cdcdcdcdcdcd)",
        "   └─ chexpert: unet-mine",
        "      └─ heart, full",
    ]


@pytest.mark.parametrize(("folder", "target"), [(CHEST, "several"), (DEEPER, "binary")])
@torch.no_grad()
def test_independent_labels_are_judged_by_the_mean_auc(chain, folder, target):
    path, info = find_checkpoint(folder, 1)
    images = PreparedImages(
        PreparedTarget.open(Path("data/prepared") / target), "val", 32, mean=info.input["mean"], std=info.input["std"], train=False,
        randaugment=None, seed=5,
    )  # fmt: skip
    model = Classifier(load_encoder(path, info), len(info.source_classes)).eval()
    tensors = read_tensors(path.with_suffix(".safetensors"))
    model.head.load_state_dict({name: tensors[f"head.{name}"] for name in ("weight", "bias")})
    inputs = [normalise_pixels(images[index][0][None], images.mean, images.std) for index in range(len(images))]
    logits = torch.cat([model(image) for image in inputs]).numpy()
    labels = images.labels.reshape(len(images), -1)
    known = [labels[:, c] != IGNORE for c in range(labels.shape[1])]
    aucs = [
        roc_auc_score(labels[known[c], c], logits[known[c], c])
        for c in range(labels.shape[1]) if len(np.unique(labels[known[c], c])) == 2
    ]  # fmt: skip
    assert info.metrics == {"source_auc": pytest.approx(np.mean(aucs), abs=1e-9)}
    assert (info.source_accuracy, info.source_metric) == (info.metrics["source_auc"], "AUC")
    assert load_head(path, info, model.encoder) == NoHead("its labels are independent, so that its outputs are no softmax")


def test_a_resumed_one_has_the_same_bits(chain, params, monkeypatch):
    """Interrupted after epoch 0, whose weights are the parent's; the parent is not loaded a second time."""
    before = {epoch: info.weights for epoch, info in list_checkpoints(CHEST).items()}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "train_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        study.pretrain(params("chest"), force=True)
    assert not (CHEST / "pretraining.json").exists() and (CHEST / ".resume.safetensors").exists()
    with pytest.raises(InputError, match="expected a finished pretraining in checkpoints/unet-chest to continue from"):
        study.pretrain(params("deeper", pretrain__from="checkpoints/unet-chest", pretrain__origins__deeper=continued(None)))
    tracking.connect().delete_run(tracking.find_finished("pretrain", run_of("chest").tags["medtransfer.cell"]).id)
    study.pretrain(params("chest"))
    assert {epoch: info.weights for epoch, info in list_checkpoints(CHEST).items()} == before


def run_of(origin: str) -> tracking.StoredRun:
    return next(run for run in tracking.read_runs("pretrain") if run.params["origin"] == origin)


def test_another_parent_is_another_result(chain, params):
    info = find_checkpoint(CHEST, 1)[1]
    other = params("chest", pretrain__origins__chest=continued("simple@0", "several"), pretrain__out="others")
    Path("others").mkdir()
    Path("others/unet-simple").symlink_to(SIMPLE.resolve())
    study.pretrain(other)
    changed = find_checkpoint(Path("others/unet-chest"), 1)[1]
    assert changed.pretraining != info.pretraining and changed.parents[0]["epoch"] == 0


def test_the_section_names_a_checkpoint_file_or_folder(chain, params):
    """`medtransfer pretrain --origin continued --from …`, on labels that exclude each other."""
    target = PreparedTarget.open(Path("data/prepared/sample"))
    relabel(target, "multiclass", Path("data/prepared/sizes"))
    changes = {
        "pretrain.source": "sizes", "pretrain.source_root": "data/prepared/sizes", "pretrain.origins.mine": continued(None),
    }  # fmt: skip
    for start in (str(SIMPLE / "epoch-001.safetensors"), str(SIMPLE)):
        study.pretrain(
            params("mine", **{key.replace(".", "__"): value for key, value in (changes | {"pretrain.from": start}).items()})
        )
        info = find_checkpoint(Path("checkpoints/unet-mine"), 1)[1]
        assert info.parents[0]["origin"] == "simple" and "source_accuracy" in info.metrics and len(info.source_classes) == 3


def test_a_start_on_the_command_line_must_not_contradict_the_entry(chain, params):
    section = params("chest", pretrain__from="simple@0", pretrain__origins__chest=continued("simple@1")).pretrain
    check_chain(section)  # from a file it is that of origins whose entry says none
    with pytest.raises(InputError, match="no --from beside --origin chest, whose .* says from: simple@1, but got simple@0"):
        check_chain(section, named=True)
    check_chain(params("chest", pretrain__from=None, pretrain__origins__chest=continued("simple@1")).pretrain, named=True)
    for start in ("simple@0", None):
        origin = continued(start)
        check_chain(params("chest", pretrain__from="simple@0", pretrain__origins__chest=origin).pretrain, named=True)


def test_options_for_a_continued_pretraining_leave_its_parent_as_it_is(chain, params):
    """`medtransfer pretrain --origin mine --from simple --source sizes --source-root … --epochs 2`."""
    relabel(study.prepare(params("simple")), "multiclass", Path("data/prepared/photos"))
    before = {path.name for path in SIMPLE.parent.iterdir()}, encoder_hash(SIMPLE, 1)
    changes = {
        "pretrain__source": "photos", "pretrain__source_root": "data/prepared/photos", "pretrain__origins__other": continued(None),
        "pretrain__from": "simple", "pretrain__epochs": 2, "pretrain__lr": 0.5,
    }  # fmt: skip
    study.pretrain(params("other", **changes))
    assert ({path.name for path in SIMPLE.parent.iterdir()} - {"unet-other"}, encoder_hash(SIMPLE, 1)) == before
    info = find_checkpoint(Path("checkpoints/unet-other"), 2)[1]
    assert info.source == "photos" and info.parents[0]["source"] == find_checkpoint(SIMPLE, 1)[1].source == "sample"
    with pytest.raises(InputError, match="in elsewhere/unet-simple to continue from, since pretrain.source is that of other"):
        study.pretrain(params("other", **changes, pretrain__out="elsewhere"))


@pytest.mark.parametrize(
    ("start", "changes", "message"),
    [
        (None, {}, "expected a checkpoint that the origin chest continues from, but got none; name one as pretrain.from"),
        ("nowhere", {}, "but nowhere is none; correct --from"),
        ("simple@7", {}, "expected a checkpoint of epoch 7 in checkpoints/unet-simple"),
        ("simple@x", {}, "such as simple@10, but got 'simple@x'"),
        ("chest", {}, "expected origins of which the first continues from none, but got chest from chest"),
        ("deeper", {}, "but got chest from deeper from chest"),
        (str(CHEST), {}, "in checkpoints/unet-chest, where this one writes its own"),
        ("simple", {"pretrain__encoders__unet__width": 8, "pretrain__out": "wide"}, ""),
        (str(SIMPLE), {"pretrain__encoders__unet__width": 8}, "of another architecture (unet, {'width': 4, 'depth': 4})"),
        ("simple", {"pretrain__origins__chest__mixup": 0.4}, "expected cutmix 0 and mixup 0 in pretrain.origins.chest"),
    ],
)
def test_what_cannot_be_continued_is_refused(chain, params, start, changes, message):
    make = lambda: study.pretrain(params("chest", pretrain__origins__chest=continued(start, "several"), **changes))  # noqa: E731
    if not message:  # the parent of that architecture is made first
        assert CheckpointInfo.read(make() / "epoch-001.json").arguments["width"] == 8
        return
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


def test_a_target_without_validation_samples_is_refused(chain, params):
    study.prepare(params("simple", prepare__out="unsplit", prepare__targets__sample__validation=0.0))
    for name, message in (("sample", "but unsplit/sample/dataset.json has the task segmentation"), ("one", "--validation 0.1")):
        if name == "one":
            relabel(PreparedTarget.open(Path("unsplit/sample")), "binary", Path("unsplit/one"))
        with pytest.raises(InputError, match=message):
            study.pretrain(params("simple", pretrain__source_root=f"unsplit/{name}"))


def test_what_is_made_is_fine_tuned_like_any_other(chain, params):
    study.finetune(params("deeper"), [CellName("sample", "unet", "deeper", 1, "decoder", 7)])
    (model,) = Path("models/sample/unet-deeper").glob("*/model.json")
    assert [name.split()[0] for name in json.loads(model.read_text())["lineage"]] == [
        "unet-simple/epoch-001.safetensors", "unet-chest/epoch-001.safetensors",
    ]  # fmt: skip
