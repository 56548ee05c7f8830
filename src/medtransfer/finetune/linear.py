"""Mode `linear`: solve for the head of a classifier on features that are computed once and stored.

The head minimises the training loss + weight_decay / 2 * the squared norm of its weights on standardised features: what training
the head alone by SGD tends to without augmentation. There is one minimum, so it does not depend on the seed.
"""

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.decoders.linear_head import ImageClassifier
from medtransfer.errors import InputError, StageError
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.hashing import digest
from medtransfer.progress import track
from medtransfer.records import read_tensors, write_tensors
from medtransfer.training.device import lay_out, place

log = logging.getLogger("medtransfer")
FEATURES = ".features"  # folder of stored features below that of all models
STEPS, TOLERANCE = 1000, 1e-7  # of L-BFGS; largest entry of the gradient at the minimum


def solve_head(tuning: FineTuning, fabric: Fabric, model: nn.Module) -> float:
    """Set the weights of a classifier's head, in place, and return their training loss without the penalty.

    Args:
        tuning: the cell.
        fabric: device of the features; the model is moved there.
        model: the encoder and an untrained head.

    Raises:
        StageError: the features are not finite.
    """
    assert isinstance(model, ImageClassifier)
    fabric.to_device(lay_out(model)).eval()
    samples = tuning.samples("train")
    features = _features(tuning, fabric, model, samples)  # (N, D)
    if not bool(torch.isfinite(features).all()):
        raise StageError(f"expected finite features of {tuning.checkpoint} for {tuning.cell.target}, but some are NaN or infinite")
    truth = torch.stack([torch.as_tensor(samples.label(index)) for index in range(len(samples))])  # type: ignore[attr-defined]
    mean, std = features.mean(0), features.std(0, unbiased=False)
    std = torch.where(std > 1e-6 * std.max().clamp(min=1e-12), std, 1.0)  # a constant feature stays 0
    weight, bias, loss = _minimise(tuning, (features - mean) / std, truth)
    weight = weight / std
    with torch.no_grad():
        model.decoder.linear.weight.copy_(weight)
        model.decoder.linear.bias.copy_(bias - weight @ mean)
    return loss


def _minimise(tuning: FineTuning, features: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return weight (C, D) and bias (C,) of least loss, float64, and that loss."""
    protocol, outputs = tuning.protocol, len(tuning.class_names)
    weight = torch.zeros(outputs, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, tolerance_grad=TOLERANCE, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        return tuning.task.loss(features @ weight.T + bias, truth, protocol.loss, protocol.loss_options)

    def closure() -> Tensor:
        solver.zero_grad()
        total = loss() + protocol.weight_decay / 2 * weight.square().sum()
        total.backward()
        return total

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return weight.detach(), bias.detach(), float(loss())


@torch.no_grad()
def _features(tuning: FineTuning, fabric: Fabric, model: ImageClassifier, samples: Samples) -> Tensor:
    """Return the pooled features of samples float64 (N, D), on the CPU: stored ones, or computed and stored."""
    section, target = tuning.section, tuning.target.info
    identity = digest([
        tuning.info.weights, tuning.info.build, tuning.info.arguments, target.fingerprint, samples.images, list(samples.mean),
        list(samples.std), section.precision, section.tf32, fabric.device.type,
    ], 16)  # fmt: skip
    path = Path(section.out) / FEATURES / f"{identity}.safetensors"
    if path.exists():
        try:
            return read_tensors(path)["features"].double()
        except (InputError, KeyError):
            log.warning("finetune: the features in %s are damaged, and computed again", path)
    batches = EpochBatches(len(samples), section.batch_size, seed=0, shuffle=False, drop_last=False)
    parts = []
    read = loader(samples, batches, section.workers, pin=fabric.device.type == "cuda")
    for images, _, _ in track(read, f"features {tuning.cell.name}", len(batches), "batch"):
        with fabric.autocast():
            maps = model.encoder(place(fabric, images))
        parts.append(model.decoder.pool([level.float() for level in maps]).cpu())
    features = torch.cat(parts)  # (N, D)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {"features": features})
    return features.double()
