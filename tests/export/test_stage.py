"""The stage: what is kept, reused and registered; and a served model answers over HTTP."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from tests.export.models import CELL, RULE, write_model
from tests.tiny_encoders import TINIEST

from medtransfer import load_model, study, tracking
from medtransfer.config import Export
from medtransfer.errors import InputError, StageError
from medtransfer.export.formats import FORMATS
from medtransfer.export.graph import Graph, graph_difference
from medtransfer.export.stage import run
from medtransfer.finetune.stage import run as finetune
from medtransfer.hashing import file_sha256
from medtransfer.predict.model import Model
from medtransfer.records import CellName, ExportInfo

pytestmark = pytest.mark.long

OUT = Path("exports/lesions/net-simple/e003-full-s7")


def export(model: str | None = "model", form: str = "folder", force: bool = False) -> str:
    section = Export.model_construct(out="exports", model=model, format=form, times_rounding=10)  # `other` is no format
    return run(section, Path("checkpoints"), force)


@pytest.fixture
def model(workplace) -> Path:
    return write_model(Path("model"), "unet", TINIEST["unet"], 32)


class Other:
    """A format whose files predict something else."""

    file, registered, off = "other", False, 0.0

    def require(self):
        pass

    def interface(self, info):
        return {"input": {}, "output": {}}

    def write(self, model, folder):
        (folder / self.file).touch()

    def difference(self, model, folder):
        return self.off


@pytest.fixture
def other(monkeypatch) -> Other:
    form = Other()
    monkeypatch.setitem(FORMATS.data, "other", form)
    return form


@pytest.mark.parametrize("off", [2e-4, float("nan"), float("inf")])
def test_an_export_that_differs_leaves_nothing(off, model, other):
    other.off = off
    with pytest.raises(
        StageError, match=f"probabilities of the model up to 1.*e-05, .* but they differ by {off:g}; nothing was kept"
    ):
        export(form="other")
    assert not Path("exports").exists() or not [path for path in Path("exports").rglob("*") if path.is_file()]
    other.off = 1e-5
    assert export(form="other") == f"{OUT}/other/other: its probabilities differ from the model's by 1.0e-05 at most"


class Altered(Other):
    """A format whose files predict what an altered graph does."""

    def __init__(self, alter):
        self.alter = alter

    def difference(self, model, folder):
        graph = deepcopy(Graph(model)).eval()
        self.alter(graph)
        with torch.no_grad():
            return graph_difference(model, lambda pixels: graph(torch.from_numpy(pixels)).numpy())


def set_epsilon(graph):
    for module in graph.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3


def shift_maps(graph):
    graph.network.encoder.register_forward_hook(lambda *args: [one.roll(1, -1) for one in args[2]])


WRONG = {
    "mean": lambda graph: graph.mean.zero_(), "std": lambda graph: graph.std.mul_(1.001), "epsilon": set_epsilon,
    "shift": shift_maps,
}  # fmt: skip


@pytest.mark.parametrize("logits", [1, 1e5])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_graph_is_refused_also_where_logits_are_large(wrong, logits, workplace, monkeypatch):
    write_model(Path("model"), "unet", TINIEST["unet"], 32, logits)
    monkeypatch.setitem(FORMATS.data, "other", Altered(WRONG[wrong]))
    with pytest.raises(StageError, match="but they differ by"):
        export(form="other")


def test_large_logits_may_differ_as_much_as_rounding_does(workplace, monkeypatch):
    """A graph in double precision is right, but differs by more than a model of small logits may."""
    write_model(Path("model"), "unet", TINIEST["unet"], 32, 1e5)
    monkeypatch.setitem(FORMATS.data, "other", Altered(lambda graph: graph.double()))
    said = export(form="other")
    info = ExportInfo.read(OUT / "other/export.json")
    assert 1e-5 < info.difference <= info.tolerance <= 0.05 and info.tolerance == 10 * info.rounding
    assert info.rounding == pytest.approx(info.difference, rel=0.5)  # batches of other sizes round otherwise
    assert f"the model's own by {info.rounding:.1e} from double precision" in said
    monkeypatch.setattr("medtransfer.export.graph.own_rounding", lambda model: 1.0)
    FORMATS.data["other"] = Other()
    FORMATS.data["other"].off = 0.06
    with pytest.raises(StageError, match=r"up to 0\.05, .* \(1 from double precision\)"):
        export(form="other", force=True)


def test_the_schema_knows_every_format():
    assert get_args(Export.model_fields["format"].annotation) == tuple(FORMATS)


def test_a_failed_export_keeps_the_older_one(model, other):
    export(form="other")
    other.off = 1.0
    with pytest.raises(StageError):
        export(form="other", force=True)
    assert {path.name for path in (OUT / "other").iterdir()} == {"other", "export.json"}


def test_the_record_says_what_goes_in_and_where_it_comes_from(model):
    export()
    info = ExportInfo.read(OUT / "folder/export.json")
    assert info.interface["input"]["shape"] == [None, 32, 32, 3] and info.interface["input"]["dtype"] == "uint8"
    assert info.interface["output"]["shape"] == [None, 1, 32, 32]
    assert (info.classes, info.thresholds, info.mean, info.std) == (["lesion"], [0.5], [0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    assert (info.licence, info.lineage, info.source, info.target) == ("CC0", ["first"], "photographs", "lesions")
    assert info.weights == file_sha256(Path("model/weights.safetensors"))
    assert info.difference == 0 and info.image_rule == RULE


def test_a_finished_export_is_reused_until_the_model_changes(model, caplog):
    caplog.set_level("INFO", "medtransfer")
    said, record = export(), OUT / "folder/export.json"
    first = record.stat().st_ino
    assert export() == said and record.stat().st_ino == first and "is finished: reused" in caplog.text
    export(force=True)
    assert record.stat().st_ino != first
    shutil.rmtree("model")
    write_model(Path("model"), "unet", TINIEST["unet"], 32, licence="other")
    export()
    assert ExportInfo.read(record).licence == "other"


@pytest.mark.parametrize(
    ("model", "words"), [(None, "it is null; name one by --model"), ("nothing", "in nothing, but it has none")]
)
def test_a_missing_model_is_named(model, words, workplace):
    with pytest.raises(InputError, match=words):
        export(model)


def test_mlflow_needs_an_image_rule(workplace):
    write_model(Path("model"), "unet", TINIEST["unet"], 32, image_rule=None)
    with pytest.raises(InputError, match="expected a rule how raw images become"):
        export(form="mlflow")
    assert not list(Path("exports").rglob("MLmodel"))
    export(form="folder")  # stored pixels need none


@pytest.mark.slow
def test_the_model_exported_last_is_the_champion(model):
    said = export(form="mlflow")
    assert said.endswith("registered as version 1 of lesions, its champion: models:/lesions@champion")
    assert export(form="mlflow") == said  # nothing is registered twice
    write_model(Path("second"), "unet", TINIEST["unet"], 32, cell={**CELL, "seed": 8})
    assert "version 2 of lesions, its champion" in export("second", form="mlflow")
    client = tracking.connect()
    version = client.get_model_version_by_alias("lesions", "champion")
    assert (str(version.version), version.tags["licence"]) == ("2", "CC0")
    (finished,) = tracking.read_runs("export", cell=ExportInfo.read(OUT / "mlflow/export.json").identity)
    assert client.get_model_version("lesions", "1").source == f"runs:/{finished.id}/model"
    assert finished.metrics["difference"] == 0
    assert "version 1 of lesions, its champion" in export(form="mlflow")  # the alias comes back


@pytest.mark.slow
def test_a_frozen_encoder_is_exported_and_served_with_its_decoder(workplace, tiny_params):
    """The answer of a real server over HTTP, where neither params nor checkpoints are."""
    cell = CellName("sample", "unet", "simple", 3, "decoder", 7)
    study.prepare(tiny_params())
    study.pretrain(tiny_params())
    finetune(tiny_params().finetune, [cell], Path("checkpoints"), Path("data/prepared"))
    original = load_model(cell.folder(Path("models")), accelerator="cpu")
    export(str(cell.folder(Path("models"))))
    export(str(cell.folder(Path("models"))), "mlflow")
    shutil.rmtree("checkpoints")
    whole = load_model(cell.folder(Path("exports")) / "folder", accelerator="cpu")
    volume = np.random.default_rng(3).normal(500, 100, (3, 30, 41, 1)).astype(np.float32)  # raw MRI, as ACDC's
    expected = original.predict(volume)
    np.testing.assert_array_equal(whole.predict(volume), expected)
    with served("models:/sample@champion") as address:
        asked = {"inputs": volume.tolist()}
        masks = np.array(answer(address, asked))
        assert masks.shape == (3, 30, 41) and len(np.unique(masks)) > 1
        np.testing.assert_array_equal(masks, expected.argmax(1))
        probabilities = answer(address, {**asked, "params": {"output": "probabilities"}})
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
        check_the_page(address, whole)
        wrong = requests.post(f"{address}/invocations", json={**asked, "params": {"values": "8-bit"}}, timeout=60)
        assert wrong.status_code == 400 and "expected whole numbers from 0 to 255" in wrong.json()["message"]


def check_the_page(address: str, model: Model) -> None:
    """Send the requests of docs/how-to/serve.md, with curl and from Python."""
    page = (
        (Path(__file__).parents[2] / "docs/how-to/serve.md").read_text(encoding="utf-8").replace("http://127.0.0.1:5001", address)
    )
    picture = np.random.default_rng(3).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(picture).save("image.png")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "requests" in block)
    names: dict[str, Any] = {}
    exec(code, names)
    np.testing.assert_array_equal(names["mask"], model.predict(picture[None, ..., None])[0].argmax(0))
    (command,) = re.findall(r"^curl.*?(?=^```)", page, re.DOTALL | re.MULTILINE)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    expected = model.predict(np.array([[[[0], [80]], [[160], [240]]]], np.uint8)).argmax(1)
    assert json.loads(done.stdout) == {"predictions": expected.tolist()}


@contextmanager
def served(uri: str) -> Iterator[str]:
    """Serve a model on a free port, in a folder of its own, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-p", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the model brings the code
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    Path("server").mkdir()
    with (
        Path("server/log").open("w") as log,
        subprocess.Popen(command, cwd="server", env=environment, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            address, end = f"http://127.0.0.1:{port}", time.monotonic() + 400
            while not _answers(f"{address}/ping"):
                assert process.poll() is None and time.monotonic() < end, Path("server/log").read_text()
                time.sleep(0.2)
            yield address
        finally:
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def answer(address: str, request: dict) -> list:
    response = requests.post(f"{address}/invocations", json=request, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]
