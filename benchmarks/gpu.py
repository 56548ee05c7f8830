"""Correctness and speed of training and scoring on the device at hand, in one table and as JSON.

Run it from the project's folder: `make gpu-check`, or `PYTHONPATH=src python benchmarks/gpu.py --out gpu-check.json`. On a GPU it
takes a few minutes; on a CPU everything is smaller, and what only a GPU has is left out and named. The exit code is 1 if a result
is wrong or a check could not run; speed, which depends on what else the machine does, does not decide it.
"""

import copy
import json
import os
import shutil
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import finetune_step
import pretrain_step
import score_grid
from decoder_only import kept_bytes
from finetune_step import LOSS, make_model, workplace
from inputs import smooth, write_pictures
from medtransfer import cli, tracking
from medtransfer.data.labelled_images import RESAMPLINGS
from medtransfer.data.pixels import normalise_pixels
from medtransfer.environment import count_cores
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.local import PRELOADED
from medtransfer.hashing import file_sha256
from medtransfer.pretrain.objectives.classification import Classification
from medtransfer.pretrain.recipe import IMAGENET_MEAN, IMAGENET_STD, Recipe
from medtransfer.records import write_text
from medtransfer.records.state import read_progress
from medtransfer.records.tables import as_markdown
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.compilation import Compilation
from medtransfer.training.device import lay_out, open_fabric
from sides import params

EPOCHS = 5  # of the pretraining that is killed and resumed
SECONDS_TO_WAIT = 240.0  # for its first epochs
OUTPUT = "output.txt"
STEPS, STEPS_BEFORE_COMPARISON = 12, 4  # of the trainings that are compared


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        check: what was checked.
        value: the number; None if this device has no such thing.
        goal: a limit in words, such as `<= 0.05`; empty for a number to look at.
        correctness: whether missing the goal means a wrong result, or none, not a slow one.
        note: what the number is made of.
    """

    check: str
    value: float | None
    goal: str = ""
    correctness: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the goal is reached; None without goal or number."""
        if self.value is None or not self.goal:
            return None
        sign, limit = self.goal.split()
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)


def options_of(arguments: Namespace, device: torch.device) -> Namespace:
    """Return the sizes and options of all checks: the published ones on a GPU, small ones on a CPU."""
    gpu = device.type == "cuda"
    return Namespace(
        batch=64 if gpu else 4, steps=60 if gpu else 2, rounds=3 if gpu else 1, size=224 if gpu else 64,
        threads=None, workers=min(12, count_cores() - 1) if gpu else 0, accelerator=device.type.replace("cuda", "gpu"),
        precision="bf16-mixed" if gpu else "32-true", compile=False, small=not gpu, out=arguments.out,
    )  # fmt: skip


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the norm of a difference over the norm of what was expected."""
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def train_briefly(
    options: Namespace, device: torch.device, precision: str
) -> tuple[list[float], dict[str, Tensor], dict[str, Tensor]]:
    """Train the segmenter of `finetune_step` on a batch of pictures; return its losses, and its weights before the end and then."""
    torch.manual_seed(0)  # of dropout
    model, (images, masks) = make_model(options, frozen=False), batch_in_memory(options)
    model = lay_out(model.to(device).train())
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses, early = [], dict[str, Tensor]()
    with arithmetic(device, tf32=precision == "tf32", reproducible=True):
        for step in range(STEPS):
            loss = _loss(model, images.to(device), masks.to(device), precision)[0]
            loss.backward()
            losses.append(float(loss.detach()))
            sgd.step()
            sgd.zero_grad(set_to_none=True)
            if step + 1 == STEPS_BEFORE_COMPARISON:
                early = copy.deepcopy(model.state_dict())
    return losses, early, model.state_dict()


def batch_in_memory(options: Namespace) -> tuple[Tensor, Tensor]:
    """Draw pictures (N, 3, H, W), normalised, and masks of their grey levels (N, H, W)."""
    rng = np.random.default_rng(0)
    pixels = np.stack([smooth(rng, (options.size, options.size, 3)) for _ in range(options.batch)])
    return normalise_pixels(torch.from_numpy(pixels), IMAGENET_MEAN, IMAGENET_STD), torch.from_numpy(pixels[..., 0] // 64)


def pass_through(options: Namespace, device: torch.device, precision: str, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return logits and all gradients of a model in evaluation mode."""
    model, (images, masks) = make_model(options, frozen=False), batch_in_memory(options)
    model.load_state_dict(weights)
    model = lay_out(model.to(device).eval())
    with arithmetic(device, tf32=precision == "tf32", reproducible=True):
        loss, logits = _loss(model, images.to(device), masks.to(device), precision)
        loss.backward()
    gradients = [parameter.grad.flatten().float().cpu() for parameter in model.parameters() if parameter.grad is not None]
    return logits.detach().float().cpu(), torch.cat(gradients)


def _loss(model: nn.Module, images: Tensor, masks: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        logits = model(images)
    return LOSS(logits.float(), masks), logits


def mixed_precision(options: Namespace, device: torch.device) -> Iterator[Row]:
    """Compare mixed precision and TF32 with float32, and float32 with itself.

    Logits and gradients are compared in evaluation mode after a few steps. In training at initial weights, batch normalisation
    amplifies any rounding: the logits of this ResNet50 differ by 0.49 of their norm with bfloat16, on a CPU as on a GPU.
    """
    small = Namespace(**{**vars(options), "batch": min(options.batch, 8)})
    losses, early, late = train_briefly(small, device, "32-true")
    again = train_briefly(small, device, "32-true")
    same = losses == again[0] and all(torch.equal(value, again[2][name]) for name, value in late.items())
    yield Row("the same bits twice, float32, reproducible", float(same), ">= 1", True, f"losses and weights of {STEPS} steps")
    expected = pass_through(small, device, "32-true", early)
    # On a CPU, where TF32 was imitated, bf16 has 0.022 and 0.82 to 0.90, TF32 0.0026 and 0.997.
    kinds = {"bf16-mixed": ("<= 0.05", ">= 0.70", "<= 0.05"), "tf32": ("<= 0.006", ">= 0.98", "<= 0.02")}
    for kind, goals in kinds.items():
        if device.type != "cuda" and kind == "tf32":
            yield Row("tf32 against float32", None, note="a CPU has no TF32")
            continue
        logits, gradients = pass_through(small, device, kind, early)
        cosine = float(torch.nn.functional.cosine_similarity(gradients, expected[1], dim=0))
        after = abs(train_briefly(small, device, kind)[0][-1] / losses[-1] - 1)
        yield Row(f"{kind}: logits, relative error", relative(logits, expected[0]), goals[0], True)
        yield Row(f"{kind}: gradients, cosine with those of float32", cosine, goals[1], True)
        yield Row(f"{kind}: loss after {STEPS} steps, relative difference", after, goals[2], True)


def resumption(options: Namespace, place: Path) -> Iterator[Row]:
    """Kill a pretraining after its first epochs, resume it, and compare its weights with those of an undisturbed one.

    Its processes are forked from one that has imported what they need: this one, unless CUDA forbids it.
    """
    source = ["--source-root", str(write_pictures(place / "source", 40))] if options.small else []
    words = [
        "pretrain", "--epochs", str(EPOCHS), "--checkpoints", "1", "--size", "64", "--accelerator", options.accelerator,
        "--precision", options.precision, *source,
    ]  # fmt: skip
    context: Any = get_context("forkserver" if options.accelerator == "gpu" else "fork")
    if options.accelerator == "gpu":
        context.set_forkserver_preload(["__main__", *PRELOADED])
    else:
        for module in PRELOADED:
            import_module(module)
    tracking.connect()  # makes the store, which takes seconds
    digests, reached = [], -1
    for name in ("undisturbed", "killed"):
        folder = place / name
        folder.mkdir()
        shutil.copy(place / "mlflow.db", folder)
        checkpoints = folder / "checkpoints" / "unet-simple"
        if name == "killed":
            process = context.Process(target=medtransfer, args=(folder, words))
            process.start()
            end = time.monotonic() + SECONDS_TO_WAIT
            while reached < 2 and process.is_alive() and time.monotonic() < end:
                reached = (read_progress(checkpoints / ".resume.safetensors") or {"epoch": -1})["epoch"]
                time.sleep(0.02)
            process.kill()
            process.join()
        process = context.Process(target=medtransfer, args=(folder, words))
        process.start()
        process.join()
        if process.exitcode:
            output = (folder / OUTPUT).read_text(encoding="utf-8")
            raise RuntimeError(
                f"expected `medtransfer {' '.join(words)}` to succeed, but it ended with {process.exitcode}:\n{output}"
            )
        digests.append(file_sha256(checkpoints / f"epoch-{EPOCHS:03d}.safetensors"))
    same = digests[0] == digests[1] and 0 <= reached < EPOCHS
    yield Row(
        "the same weights after a kill and a resumption", float(same), ">= 1", True, f"killed after epoch {reached} of {EPOCHS}"
    )


def medtransfer(folder: Path, words: list[str]) -> None:
    """Run a command in a folder, with a tracking store and a file of its output there; main function of a process."""
    os.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)
    with Path(OUTPUT).open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["medtransfer", *words]
    cli.main()


def compilation(options: Namespace, device: torch.device) -> Iterator[Row]:
    """Compile four models in one process, more than PyTorch keeps graphs of, and compare their losses and speed."""
    if device.type != "cuda":
        yield Row("compiled against uncompiled steps", None, note="nothing is compiled on a CPU")
        return
    from torch._dynamo.utils import counters

    worst, graphs, ratios = 0.0, 0, []
    for frozen in (False, True, False, True):
        losses, seconds = [], []
        for compiles in (False, True):
            compiled = Compilation(compiles, device)
            model = compiled.compile(lay_out(make_model(options, frozen).to(device).train()))
            images = torch.randn(options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(1))
            batch = images.to(device).contiguous(memory_format=torch.channels_last)
            masks = torch.zeros(options.batch, options.size, options.size, dtype=torch.uint8, device=device)
            step = _step(model, batch, masks)
            losses.append(step())
            step()
            seconds.append(_seconds(lambda: [step() for _ in range(10)], device))  # noqa: B023
            if compiles:
                graphs += bool(counters["stats"]["unique_graphs"])
        worst = max(worst, abs(losses[1] / losses[0] - 1))
        ratios.append(seconds[0] / seconds[1])
    yield Row("compiled: loss, largest relative difference", worst, "<= 0.01", True, "four models in one process")
    yield Row("compiled: models of four with a graph of their own", float(graphs), ">= 4", True)
    yield Row("compiled: speed over uncompiled steps", sum(ratios) / len(ratios), note="mean of four")


def _step(model: nn.Module, batch: Tensor, masks: Tensor) -> Callable[[], float]:
    def step() -> float:
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(batch)
        loss = LOSS(logits.float(), masks)
        loss.backward()
        model.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def decoder_memory(options: Namespace) -> Iterator[Row]:
    """Compare what decoder-only and full training keep for the backward pass."""
    decoder, full = (kept_bytes(options, frozen) for frozen in (True, False))
    note = f"{decoder / 2**20:.0f} of {full / 2**20:.0f} MiB per image"
    yield Row("memory kept by decoder-only over full training", decoder / full, "<= 0.7", True, note)


class Synthetic(torch.utils.data.Dataset):
    """Made-up pixels in memory, in the form of source images: no file is read, nothing is augmented."""

    def __init__(self, images: Any) -> None:
        """Take the number, the form and the classes of other images."""
        pixels, _ = images[0]
        self._pixels, self._count = torch.zeros_like(pixels).random_(0, 255), len(images)
        self.classes, self.exclusive = images.classes, images.exclusive

    def __len__(self) -> int:
        """Count the images."""
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return the same pixels with a label."""
        return self._pixels, index % len(self.classes)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all epochs are alike."""


def fine_tuning(options: Namespace, place: Path) -> Iterator[Row]:
    """Compare our fine-tuning with a bare loop on tensors in memory."""
    tuned = finetune_step.measure(options, place, frozen=False)
    yield Row("fine-tuning, speed over a bare loop", tuned.show("our fine-tuning", "bare loop"), ">= 0.97", note=_speed(tuned))


def pretraining(options: Namespace, place: Path) -> Iterator[Row]:
    """Compare our pretraining with a bare loop on tensors in memory, on real and on synthetic data, and with timm's parts."""
    recipe = pretrain_step.make_recipe(options)
    root = write_pictures(place / "pictures", max(options.batch * options.steps, pretrain_step.CLASSES), pretrain_step.CLASSES)
    made = pretrain_step.measure(options, recipe, root, Synthetic)
    yield Row("pretraining on synthetic data, speed over a bare loop", made.show("ours", "bare loop"), ">= 0.97", note=_speed(made))
    step = options.batch * made.milliseconds(made.ours)
    for name, milliseconds in preparation(options, recipe, root).items():
        yield Row(f"pretraining, {name}, share of a step", milliseconds / step, note=f"{milliseconds:.2f} ms")
    theirs = timm_speed(options, recipe, root)
    for way in RESAMPLINGS:
        real = pretrain_step.measure(options, replace(recipe, resampling=way), root)
        ratio, name = made.milliseconds(made.ours) / real.milliseconds(real.ours), f"pretraining on JPEG files, resampled by {way}"
        yield Row(f"{name}, speed over synthetic data", ratio, ">= 0.90", note=_speed(real))
        ratio = 1000 / real.milliseconds(real.ours) / theirs
        yield Row(f"{name}, speed over timm's", ratio, note=f"{theirs:.0f} images/s with timm's loader, RandAugment and ResNet50")


def preparation(options: Namespace, recipe: Recipe, root: Path) -> dict[str, float]:
    """Return the milliseconds that a batch takes on the device before its forward pass: copied, and made an input of the model."""
    fabric = open_fabric(options.accelerator, 1, options.precision)
    objective = Classification(recipe, {"train": pretrain_step.open_images(root, recipe, None)})
    pixels = torch.randint(0, 256, (options.batch, recipe.size, recipe.size, 3), dtype=torch.uint8)
    labels, generator = torch.arange(options.batch) % pretrain_step.CLASSES, torch.Generator().manual_seed(0)
    if fabric.device.type == "cuda":
        pixels, labels = pixels.pin_memory(), labels.pin_memory()
    works: dict[str, Callable[[], Any]] = {
        "copy of a batch": lambda: [fabric.to_device(pixels) for _ in range(10)],
        "copy, normalisation, mixing and erasing of a batch": lambda: [
            objective.inputs(fabric, (pixels, labels), generator) for _ in range(10)
        ],
    }
    return {name: 100 * min(_seconds(work, fabric.device) for _ in range(4)) for name, work in works.items()}


def _speed(rounds: Any) -> str:
    return f"{1000 / rounds.milliseconds(rounds.ours):.0f} images/s"


def timm_speed(options: Namespace, recipe: Recipe, root: Path) -> float:
    """Return the images per second of a loop around timm's own loader, augmentation, optimiser and ResNet50.

    timm's training script is not part of its package; this has its default steps, without logging and checkpoints, and both
    operations of RandAugment on every picture, as our recipe has, of which timm leaves out half by default.
    """
    import timm
    from timm.data import Mixup, create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes = pretrain_step.CLASSES
    model = timm.create_model("resnet50", num_classes=classes).to(device).to(memory_format=torch.channels_last).train()
    adamw = create_optimizer_v2(model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay)
    loader = create_loader(
        create_dataset("", root=str(root / "train")), input_size=(3, recipe.size, recipe.size), batch_size=options.batch,
        is_training=True, auto_augment="rand-m9-p1.0", re_prob=0.25, num_workers=options.workers, device=device,
        use_prefetcher=device.type == "cuda", persistent_workers=options.workers > 0,
    )  # fmt: skip
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=classes)
    best = 0.0
    for epoch in range(options.rounds + 1):  # the first warms up
        count, begin = 0, time.perf_counter()
        for raw, labels in loader:
            images, targets = mixup(raw.to(device).float(), labels.to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
                logits = model(images.contiguous(memory_format=torch.channels_last))
            cross_entropy(logits.float(), targets).backward()
            adamw.step()
            adamw.zero_grad(set_to_none=True)
            count += len(labels)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if epoch:
            best = max(best, count / (time.perf_counter() - begin))
    return best


def scoring(options: Namespace, device: torch.device) -> Iterator[Row]:
    """Compare scoring with two bare forward passes."""
    gpu = device.type == "cuda"
    for name, changed, images, size, goal in (
        ("resnet50", {}, 512 if gpu else 4, 224 if gpu else 64, "<= 1.05"),
        ("unet", {"width": 16}, 4096 if gpu else 16, 64, "<= 1.10"),
    ):
        encoder = score_grid.make_encoder(name, **changed).to(device)
        batch, rounds = min(images, options.batch), 5 if gpu else 2
        ratio = score_grid.measure(encoder, images, size, batch, rounds, device)
        yield Row(f"scoring by {name} at {size}, time over two forward passes", ratio, goal)


def rows(options: Namespace, device: torch.device, place: Path) -> Iterator[Row]:
    """Yield the results of all checks; after one that cannot run the others go on."""
    checks = {
        "resumption": resumption(options, place),  # first, since it may fork this process, which has no threads yet
        "mixed precision": mixed_precision(options, device),
        "memory": decoder_memory(options),
        "fine-tuning": fine_tuning(options, place),
        "pretraining": pretraining(options, place),
        "scoring": scoring(options, device),
        "arithmetic": arithmetics(options, device),
        "compilation": compilation(options, device),
    }
    for name, check in checks.items():
        try:
            yield from check
        except Exception as error:
            traceback.print_exc()
            yield Row(f"{name}: the check ran", 0, ">= 1", True, f"{type(error).__name__}: {error}".splitlines()[0])


def arithmetics(options: Namespace, device: torch.device) -> Iterator[Row]:
    """Measure bare loops by the arithmetic of the GPU: what float32 costs, and what reproducible algorithms do."""
    if device.type != "cuda":
        yield Row("reproducible algorithms over the fastest ones", None, note="a CPU has no choice")
        return
    recipe = pretrain_step.make_recipe(options)
    loops = {
        "fine-tuning": lambda chosen: finetune_step.bare_round(chosen, Protocol.of(params(False).finetune), device, False),
        "pretraining": lambda chosen: pretrain_step.bare_round(chosen, recipe, device),
    }
    kinds = {"float32": ("32-true", False, False), "tf32": ("32-true", True, False), "bf16": ("bf16-mixed", True, False)}
    for name, make in loops.items():
        speeds = {}
        for kind, (precision, tf32, reproducible) in {**kinds, "reproducible": ("bf16-mixed", True, True)}.items():
            chosen = Namespace(**{**vars(options), "precision": precision, "steps": 12})
            with arithmetic(device, tf32=tf32, reproducible=reproducible):
                loop = make(chosen)
                loop()
                speeds[kind] = chosen.batch * chosen.steps / min(_seconds(loop, device) for _ in range(2))
            del loop
        note = ", ".join(f"{kind} {speeds[kind]:.0f}" for kind in kinds) + " images/s"
        ratio = speeds["reproducible"] / speeds["bf16"]
        yield Row(f"{name}, bare, speed with reproducible algorithms over the fastest", ratio, note=note)


def describe(device: torch.device) -> str:
    """Name the device and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, {count_cores()} cores, PyTorch {torch.__version__}"


def main() -> int:
    """Check, print the table and write it as JSON; return 1 if a result is wrong or a check could not run."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="JSON file to write")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options, begin, found = options_of(arguments, device), time.perf_counter(), list[Row]()
    if device.type == "cpu":
        print("No GPU was found: sizes are small and rounds few, so the speeds say little and have no goals; results are checked.")
    with workplace() as place:
        for row in rows(options, device, place):
            found.append(row if device.type == "cuda" or row.correctness else replace(row, goal=""))
            value = "–" if row.value is None else f"{row.value:.4f}"
            print(f"[{time.perf_counter() - begin:.0f} s] {row.check}: {value}", flush=True)
    table = [
        {"check": row.check, "value": row.value, "goal": row.goal, "holds": row.holds, "note": row.note} for row in found
    ]  # fmt: skip
    print(f"\n{describe(device)}\n\n{as_markdown(table)}")
    text = json.dumps({"device": describe(device), "rows": [{**asdict(row), "holds": row.holds} for row in found]}, indent=1)
    write_text(arguments.out, f"{text}\n")
    wrong = [row.check for row in found if row.correctness and row.holds is False]
    missed = sum(row.holds is False for row in found)
    print(f"wrong: {'; '.join(wrong) or 'nothing'}; {missed} of {sum(bool(row.goal) for row in found)} goals missed")
    print(f"ratio: {missed / sum(bool(row.goal) for row in found):.2f}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
