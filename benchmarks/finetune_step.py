"""Speed of fine-tuning relative to a bare PyTorch loop, on one model and a made-up target.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/finetune_step.py`. Ours is the real trainer: the prepared
target on disk, augmentation, loading, schedule, checks of the losses, progress, states to resume from, and metrics in a tracking
store. The bare loop has the same model, layout, batch, loss and optimiser, and its tensors are in memory. An epoch is two steps
here, so what is done once per epoch weighs forty times what it weighs on ACDC.
"""

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from inputs import CLASSES, write_target
from medtransfer import tracking
from medtransfer.cli import quiet_libraries
from medtransfer.data.augmentation import AUGMENTATIONS
from medtransfer.data.sampling import EpochBatches, loader, worker_init
from medtransfer.data.target_samples import TargetSamples
from medtransfer.decoders.build import build_segmenter
from medtransfer.decoders.segmenter import Segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import freeze
from medtransfer.encoders.initialise import initialise
from medtransfer.finetune.protocol import Protocol
from medtransfer.finetune.trainer import Trainer
from medtransfer.pretrain.recipe import IMAGENET_MEAN, IMAGENET_STD
from medtransfer.tasks import TASKS
from medtransfer.training.compilation import Compilation
from medtransfer.training.device import lay_out, open_fabric
from sides import DIFFERENT, Rounds, images_a_second, params, parser

LOSS = TASKS["segmentation"].loss
CONTRACT: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "seed": 0}


def make_model(options: Namespace, frozen: bool) -> Segmenter:
    """Make the ResNet50 Attention U-Net with its initial weights."""
    segmenter = build_segmenter(build_encoder("resnet50", **params(options.small).pretrain.encoders["resnet50"].arguments), CLASSES)
    initialise(segmenter, 0)
    if frozen:
        freeze(segmenter.encoder)
    return segmenter


def bare_round(options: Namespace, protocol: Protocol, device: torch.device, frozen: bool) -> Callable[[], None]:
    """Return the bare loop over a round's steps; a frozen encoder runs under no_grad."""
    raw = make_model(options, frozen).to(device)
    segmenter = Compilation(options.compile and not frozen, device).compile(lay_out(raw).train())
    trained = [parameter for parameter in segmenter.parameters() if parameter.requires_grad]
    sgd = torch.optim.SGD(trained, lr=protocol.lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay, fused=True)
    shape = (min(options.steps, DIFFERENT), options.batch, 3, options.size, options.size)
    images = torch.randn(shape, device=device)
    masks = torch.randint(0, CLASSES + 1, (*shape[:2], *shape[3:]), device=device).to(torch.uint8)
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in images]

    def loop() -> None:
        for batch, truth in islice(cycle(zip(batches, masks, strict=True)), options.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
                if frozen:
                    with torch.no_grad():
                        maps = raw.encoder(batch)
                    logits = raw.decoder(maps)
                else:
                    logits = segmenter(batch)
            LOSS(logits.float(), truth).backward()
            sgd.step()
            sgd.zero_grad(set_to_none=True)

    return loop


@contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary folder with a tracking store of its own."""
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        yield Path(place)


def measure(options: Namespace, place: Path, *, frozen: bool, alone: bool = False) -> Rounds:
    """Train with our trainer for some rounds of one epoch, and with the bare loop in between unless `alone`."""
    name = f"{'decoder' if frozen else 'full'}-{'alone' if alone else 'measured'}"
    target = write_target(place / name, options.batch * options.steps, options.size, "rotate-flip")
    chosen = params(options.small).finetune.model_copy(
        update={
            "train_epochs": options.rounds + 1,
            "batch_size": options.batch,
            "precision": options.precision,
            "compile": options.compile,
        }
    )
    protocol, fabric = Protocol.of(chosen), open_fabric(options.accelerator, 1, options.precision)
    samples = TargetSamples(target, "train", augment=True, **CONTRACT)
    trainer = Trainer(
        fabric, make_model(options, frozen), samples, LOSS, protocol, 0, place / f"{name}.safetensors", "key", options.workers
    )
    bare = None if alone else bare_round(options, protocol, fabric.device, frozen)
    with tracking.open_run("finetune", name, name, {"frozen": frozen}, {}) as handle:
        rounds = Rounds(options.batch * options.steps, fabric.device)

        def observe(epoch: int, values: dict[str, float]) -> None:
            handle.log_metrics(values, epoch)
            rounds.change(bare)

        trainer.train(name, observe)
    return rounds


def data_path(place: Path, size: int, augmentation: str) -> float:
    """Return the samples per second of one core: read, augmented, normalised and collated to batches."""
    target = write_target(place / augmentation, 96, size, augmentation)
    samples = TargetSamples(target, "train", augment=True, **CONTRACT)
    batches = loader(samples, EpochBatches(len(samples), 24, seed=0, shuffle=True, drop_last=False), 0, pin=False)
    worker_init(0)
    return images_a_second(lambda: sum(len(images) for images, _, _ in batches))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, batch=24, steps=2, rounds=5).parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    print(f"ResNet50 Attention U-Net at {options.size}, batches of {options.batch}, {torch.get_num_threads()} threads")
    with workplace() as place:
        rounds = measure(options, place, frozen=False)
        ratio = rounds.show("our fine-tuning", "bare loop on tensors in memory")
        for augmentation in AUGMENTATIONS:
            print(f"data path alone, {augmentation}: {data_path(place, options.size, augmentation):.0f} images/s per core")
    print(f"ratio: {ratio:.3f}")


if __name__ == "__main__":
    main()
