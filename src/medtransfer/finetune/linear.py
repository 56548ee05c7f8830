"""Mode `linear`: solve for the head of a classifier on features that are computed once and stored.

The head minimises the training loss + weight_decay / 2 * the squared norm of its weights on standardised features: what training
the head alone by SGD tends to without augmentation. There is one minimum, so it does not depend on the seed.
"""

import torch
from torch import Tensor, nn

from medtransfer.decoders.linear_head import ImageClassifier, LinearHead
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.finetune.stored_features import stored_features
from medtransfer.training.fabric import Fabric

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
    assert isinstance(model, ImageClassifier) and isinstance(model.decoder, LinearHead)
    samples = tuning.samples("train")
    features = stored_features(tuning, fabric, model, samples).double()  # (N, D)
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
