"""Speed of training the decoder only, relative to a bare loop whose encoder runs under no_grad.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/decoder_only.py`. The model is the ResNet50 Attention U-Net of
finetune_step.py. The bare loop runs the frozen encoder under torch.no_grad, so that it keeps nothing for a backward pass. The
script also measures full training, and what each mode keeps for its backward pass.
"""

from argparse import Namespace

import torch

from finetune_step import make_model, measure, workplace
from sides import parser


def kept_bytes(options: Namespace, frozen: bool) -> int:
    """Return the bytes that one forward pass keeps for the backward pass, weights not counted."""
    model = make_model(options, frozen).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        logits = model(torch.randn(1, 3, options.size, options.size))
    assert logits.requires_grad
    return sum(kept.values())


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, batch=24, steps=2, rounds=5).parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    print(f"ResNet50 Attention U-Net at {options.size}, batches of {options.batch}, {torch.get_num_threads()} threads")
    with workplace() as place:
        frozen = measure(options, place, frozen=True)
        ratio = frozen.show("our decoder-only training", "bare loop, encoder under no_grad")
        options.rounds = 2
        full = measure(options, place, frozen=False, alone=True)
    part = frozen.milliseconds(frozen.ours) / full.milliseconds(full.ours)
    print(f"our full training: {full.milliseconds(full.ours):.1f} ms per image; the decoder alone takes {part:.2f} of it")
    for name, mode in (("decoder only", True), ("full", False)):
        print(f"kept for the backward pass, {name}: {kept_bytes(options, mode) / 2**20:.0f} MiB per image")
    print(f"ratio: {ratio:.3f}")


if __name__ == "__main__":
    main()
