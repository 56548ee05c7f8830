"""Speed of pretraining relative to a bare PyTorch loop, on one ResNet50 and made-up JPEG files.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/pretrain_step.py`. Ours is the real loop of the advanced origin:
JPEG files of ImageNet's usual size are decoded and cropped; RandAugment, collation, CutMix, mixup, erasing, schedule, checks of
the losses, progress, and metrics in a tracking store follow. The bare loop has the same model, layout, batch, loss and optimiser,
and its tensors are in memory. An epoch is four steps here, so what is done once per epoch weighs far more than on ImageNet.
`--workers 1 --threads 1` shows how much time a loader process with a core of its own hides.
"""

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from finetune_step import workplace
from inputs import write_pictures
from medtransfer import tracking
from medtransfer.data.mixing import erase, mix
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.sampling import EpochBatches, Epochs, loader, worker_init
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.initialise import initialise
from medtransfer.pretrain.loop import train_epoch
from medtransfer.pretrain.objectives.classification import Classification
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.progress import track
from medtransfer.training.compilation import Compilation
from medtransfer.training.device import lay_out, open_fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.steps import Steps
from sides import DIFFERENT, Rounds, images_a_second, params, parser

CLASSES = 10


def make_recipe(options: Namespace) -> Recipe:
    """Return the published recipe of ResNet50, advanced origin, with this batch in one forward pass."""
    section = params(options.small).pretrain.model_copy(update={"encoder": "resnet50", "origin": "advanced"})
    changed = {"batch_size": options.batch, "micro_batch": options.batch, "devices": 1, "size": options.size}
    return replace(recipe_of(section), **changed, lr=1e-4, epochs=options.rounds + 1, precision=options.precision)


def make_model(recipe: Recipe) -> tuple[Classifier, torch.optim.Optimizer]:
    """Make the classifier with its initial weights, and its optimiser."""
    model = Classifier(build_encoder(recipe.build, **recipe.arguments), CLASSES)
    initialise(model, recipe.seed)
    lay_out(model)
    return model, torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )


def bare_round(options: Namespace, recipe: Recipe, device: torch.device) -> Callable[[], None]:
    """Return the bare loop over a round's steps."""
    raw, adamw = make_model(recipe)
    model = Compilation(options.compile, device).compile(raw.to(device).train())
    different = min(options.steps, DIFFERENT)
    images = torch.randn(different, options.batch, 3, options.size, options.size, device=device)
    targets = torch.rand(different, options.batch, CLASSES, device=device).softmax(2)
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in images]

    def loop() -> None:
        for batch, target in islice(cycle(zip(batches, targets, strict=True)), options.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
                logits = model(batch)
            cross_entropy(logits.float(), target, label_smoothing=recipe.label_smoothing).backward()
            adamw.step()
            adamw.zero_grad(set_to_none=True)

    return loop


def open_images(root: Path, recipe: Recipe, randaugment: dict[str, int] | None) -> SourceImages:
    """Open the training pictures."""
    return SourceImages(
        root, "train", recipe.size, mean=recipe.mean, std=recipe.std, train=True, randaugment=randaugment, seed=recipe.seed,
        resampling=recipe.resampling,
    )  # fmt: skip


def measure(
    options: Namespace, recipe: Recipe, root: Path, replaced: Callable[[SourceImages], Any] = lambda images: images
) -> Rounds:  # fmt: skip
    """Train with our loop, one epoch per round, and with the bare loop after each; `replaced` returns other images to train on."""
    fabric = open_fabric(options.accelerator, 1, options.precision)
    raw, adamw = make_model(recipe)
    steps = Steps(fabric, raw, adamw, compiles=options.compile, clip_grad=None, ema_decay=None)
    guard = FiniteGuard(fabric, raw, adamw, "training loss", lambda: "nothing was saved before", "run again")
    images = replaced(open_images(root, recipe, recipe.randaugment))
    objective = Classification(recipe, {"train": images})
    sampler = EpochBatches(len(images), recipe.micro_batch, seed=recipe.seed, shuffle=True, drop_last=True)
    batches = Epochs(images, sampler, options.workers, pin=fabric.device.type == "cuda", last=recipe.epochs)
    bare = bare_round(options, recipe, fabric.device)
    with tracking.open_run("pretrain", "measured", "measured", {"workers": options.workers}, {}) as handle:
        rounds = Rounds(options.batch * options.steps, fabric.device)
        for epoch in range(1, recipe.epochs + 1):
            bar = track(batches.batches(epoch), f"epoch {epoch}", len(batches), "batch")
            numbers = train_epoch(fabric, steps, bar, [1] * len(batches), recipe, epoch, objective, guard)
            handle.log_metrics(numbers, epoch)
            rounds.change(bare)
    return rounds


def data_path(root: Path, recipe: Recipe, randaugment: dict[str, int] | None) -> float:
    """Return the pictures per second of one core: decoded, cropped, augmented, normalised and collated to batches."""
    images = open_images(root, recipe, randaugment)
    batches = loader(images, EpochBatches(len(images), 16, seed=0, shuffle=True, drop_last=False), 0, pin=False)
    worker_init(0)
    return images_a_second(lambda: sum(len(labels) for _, labels in batches))


def mixing(recipe: Recipe, count: int = 32) -> float:
    """Return the images per second of one core for what the main process does to batches: CutMix, mixup and erasing."""
    images = torch.randn(count, 3, recipe.size, recipe.size).contiguous(memory_format=torch.channels_last)
    labels, generator = torch.arange(count) % CLASSES, torch.Generator().manual_seed(0)

    def once() -> int:
        mixed, _ = mix(images, labels, CLASSES, cutmix=recipe.cutmix, mixup=recipe.mixup, generator=generator)
        return len(erase(mixed, recipe.erasing, generator, value=torch.zeros(3)))

    return images_a_second(once, passes=5)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, batch=16, steps=4, rounds=4).parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    recipe = make_recipe(options)
    print(
        f"ResNet50 at {options.size}, advanced origin, batches of {options.batch}, {torch.get_num_threads()} threads, "
        f"{options.workers} workers"
    )
    with workplace() as place:
        begin = time.perf_counter()
        root = write_pictures(place / "pictures", max(options.batch * options.steps, CLASSES), CLASSES)
        print(f"made the pictures in {time.perf_counter() - begin:.1f} s")
        ratio = measure(options, recipe, root).show("our pretraining", "bare loop on tensors in memory")
        for name, randaugment in (("simple", None), ("advanced", recipe.randaugment)):
            print(f"data path alone, {name}: {data_path(root, recipe, randaugment):.0f} images/s per core")
        print(f"mixing and erasing in the main process: {mixing(recipe):.0f} images/s per core")
    print(f"ratio: {ratio:.3f}")


if __name__ == "__main__":
    main()
