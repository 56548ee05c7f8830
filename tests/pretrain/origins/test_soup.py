"""Averages of checkpoints: weights by hand, statistics of batch normalisation by hand, and what has no average."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.pretrain.written_series import write_series
from tests.tasks.label_targets import relabel
from torch import nn

from medtransfer import study, tracking
from medtransfer.analysis.pools import collect
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records import Pretraining, find_checkpoint, list_checkpoints, read_tensors
from medtransfer.records.lineage import read_parents
from medtransfer.studies.finished import read_continued
from medtransfer.training.batch_norm import has_batch_norm, redo_statistics
from medtransfer.training.checkpoints import load_encoder

THEIRS, SOUP = Path("checkpoints/unet-theirs"), Path("checkpoints/unet-mine")


Average = Callable[..., Path]


def maker(tiny_params: Callable[..., Params]) -> Average:
    """Return a maker of an average; the series of epochs is written if there is none."""

    def run(epochs: tuple[int, ...] = (3, 7), encoder: str = "unet", **changed: Any) -> Path:
        soup = {"kind": "soup", "of": "theirs", "epochs": list(epochs), "images": 6}
        chosen = {"pretrain.origin": "mine", "pretrain.origins.mine": soup, "pretrain.encoder": encoder}
        params = tiny_params({**chosen, "pretrain.micro_batch": 3, **changed})
        if not (folder := Path(f"checkpoints/{encoder}-theirs")).exists():
            write_series(folder, params, (0, 1, 3, 7), encoder)
        return study.pretrain(params)

    return run


@pytest.fixture(scope="module")
def shared(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Average:
    """Return a maker of averages in the folder of the module."""
    return maker(tiny_params)


@pytest.fixture
def averaged(workplace: Path, tiny_params: Callable[..., Params]) -> Average:
    """Return a maker of averages in an empty folder."""
    return maker(tiny_params)


def parents(*epochs: int) -> list[dict[str, torch.Tensor]]:
    return [read_tensors(THEIRS / f"epoch-{epoch:03d}.safetensors") for epoch in epochs]


def test_weights_are_the_mean_of_the_named_epochs(shared):
    folder = shared((7, 1, 3))
    soup, theirs = read_tensors(folder / "epoch-007.safetensors"), parents(1, 3, 7)
    assert soup.keys() == theirs[0].keys()
    for name in (name for name in soup if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))):
        mean = sum(tensors[name].numpy().astype(float) for tensors in theirs) / 3
        assert soup[name].numpy() == pytest.approx(mean, rel=1e-6, abs=1e-9), name
    infos, before = list_checkpoints(folder), list_checkpoints(THEIRS)
    assert list(infos) == [0, 7] and infos[0].lineage == []
    names = [f"epoch-{epoch:03d}.safetensors" for epoch in (1, 3, 7)]
    assert infos[7].lineage == [f"unet-theirs/{name} {file_sha256(THEIRS / name)}" for name in names]
    assert (infos[7].kind, infos[7].source, infos[7].input) == ("soup", before[7].source, before[7].input)
    assert infos[0].weights == before[0].weights
    (run,) = tracking.read_runs("pretrain")
    assert run.tags["stopped"] == "averaged over the epochs 1, 3, 7 of theirs" and run.params["statistics_images"] == "6"


def test_statistics_are_of_the_source_images(shared, sample_data):
    """The first normalisation is of outputs of the first convolution: its mean lies among those of the pictures."""
    folder = shared((7, 1, 3))
    encoder = load_encoder(*find_checkpoint(folder, 7))
    first = next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    norm = next(name for name, module in encoder.named_modules() if isinstance(module, nn.BatchNorm2d))
    means = []
    for path in sorted((sample_data / "pictures/train").glob("*/*")):
        with Image.open(path) as picture:
            assert picture.width == picture.height  # so that the centre is the picture
            pixels = np.asarray(picture.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)) / 255
        x = torch.tensor((pixels - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4], dtype=torch.float32).permute(2, 0, 1)[None]
        means.append(first(x).detach().mean(dim=(0, 2, 3)).numpy())
    found = encoder.get_buffer(f"{norm}.running_mean").numpy()
    assert (np.min(means, axis=0) - 1e-5 <= found).all() and (found <= np.max(means, axis=0) + 1e-5).all()
    stale = sum(tensors[f"encoder.{norm}.running_mean"] for tensors in parents(1, 3, 7)) / 3
    assert not np.allclose(found, stale.numpy(), atol=1e-3)


def test_another_choice_of_epochs_is_another_average(shared):
    first = list_checkpoints(shared((7, 1, 3)))[7]
    second = list_checkpoints(shared((3, 7)))[7]
    assert first.pretraining != second.pretraining and first.weights != second.weights
    assert SOUP.with_name(f"unet-mine.{first.pretraining}").is_dir()  # moved aside


def test_statistics_are_means_over_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    batches = [torch.randn(5, 3, 8, 8) for _ in range(3)]
    redo_statistics(model, iter(batches))
    outputs = [model[0](batch).detach().transpose(0, 1).flatten(1).numpy() for batch in batches]
    assert model[1].running_mean.numpy() == pytest.approx(np.mean([x.mean(1) for x in outputs], axis=0), rel=1e-4, abs=1e-6)
    assert model[1].running_var.numpy() == pytest.approx(np.mean([x.var(1, ddof=1) for x in outputs], axis=0), rel=1e-4)
    normal = [(x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) for x in outputs]  # no dropout
    after = np.mean([model[3].weight.detach().numpy()[:, :, 0, 0] @ x.mean(1) for x in normal], axis=0)
    assert model[4].running_mean.numpy() == pytest.approx(after + model[3].bias.detach().numpy(), abs=1e-5)
    assert model[1].momentum == 0.1 and not any(module.training for module in model.modules())
    assert has_batch_norm(model) and not has_batch_norm(nn.Sequential(nn.LayerNorm(3)))


def test_statistics_of_a_continued_pretraining_are_of_its_own_source(averaged, tiny_params):
    prepared = study.prepare(tiny_params({"prepare.targets.sample.validation": 0.34}))
    target = relabel(prepared, "multiclass", Path("data/prepared/sizes"))
    write_series(Path("checkpoints/unet-continued"), tiny_params(), (0, 1, 3), source="sizes")
    folder = averaged(**{
        "pretrain.origins.mine": {"kind": "soup", "of": "continued", "epochs": [1, 3], "images": 6},
        "pretrain.origins.continued.source": "sizes", "pretrain.origins.continued.source_root": str(target.folder),
    })  # fmt: skip
    assert list_checkpoints(folder)[3].source == "sizes"
    assert Pretraining.read(folder / "pretraining.json").inputs == [
        ["sizes", target.info.fingerprint, "data/prepared/sizes", "statistics"]
    ]


def test_averages_of_a_continued_pretraining_are_known_to_start_from_trained_weights(averaged, tiny_params):
    parents = [{"encoder": "unet", "origin": "simple", "kind": "supervised", "source": "sample", "epoch": 5, "weights": "w"}]
    write_series(Path("checkpoints/unet-continued"), tiny_params(), (0, 1, 3), parents=parents)
    folder = averaged(
        encoder="unet", **{"pretrain.origins.mine": {"kind": "soup", "of": "continued", "epochs": [1, 3], "images": 6}}
    )
    soup = Pretraining.read(folder / "pretraining.json")
    assert not list_checkpoints(folder)[0].is_random and read_parents(soup.params) == tuple(parents)
    assert read_continued() == {soup.pretraining}
    fields = {
        "source": "sample", "origin": "mine", "encoder": "unet", "target": "sample", "mode": "full", "protocol": "r", "data": "d",
        "pretraining": soup.pretraining, "primary": "dice", "seed": 1,
    }  # fmt: skip
    records = [tracking.RunRecord("cell", f"{epoch}", {**fields, "epoch": epoch}, {"dice": 0.5}) for epoch in (0, 3)]
    tracking.write_runs("finetune", records, "runs")
    ((pool,), _) = collect(RobustnessSetting("cosine", 0.5, -2, "frozen"))
    assert (pool.parents, pool.chain) == (tuple(parents), "")


def test_an_encoder_without_batch_normalisation_needs_no_images(averaged):
    folder = averaged(encoder="swin", **{"pretrain.source_root": "nowhere"})
    assert list(list_checkpoints(folder)) == [0, 7]


@pytest.mark.parametrize(
    ("epochs", "changed", "message"),
    [((3, 5), {}, r"expected a checkpoint of epoch 5 in .*unet-theirs, but it holds the epochs 0, 1, 3, 7"),
     ((3, 7), {"pretrain.source": "another"}, "expected pretrain.source 'sample', of the checkpoints"),
     ((3, 7), {"pretrain.micro_batch": 1}, "expected at least 2 source images per batch")],
    ids=["missing", "another source", "single images"],
)  # fmt: skip
def test_what_cannot_be_averaged_is_refused(averaged, tiny_params, epochs, changed, message):
    write_series(THEIRS, tiny_params(), (0, 1, 3, 7))
    with pytest.raises(InputError, match=message):
        averaged(epochs, **changed)
    assert not SOUP.exists() or not any(SOUP.glob("epoch-*"))


def test_checkpoints_of_two_starts_are_refused(averaged, tiny_params):
    write_series(THEIRS, tiny_params(), (0, 3))
    write_series(THEIRS, tiny_params(), (7,), pretraining="another")
    with pytest.raises(InputError, match="expected the checkpoints of one pretraining .* averages of weights need one start"):
        averaged()


def test_repeated_epochs_are_refused(averaged):
    with pytest.raises(InputError, match="epochs must differ"):
        averaged((3, 3))
