"""Stop a training by the robustness of its features: python examples/stop_early.py."""

import numpy as np

import medtransfer


def main() -> None:
    """Train a model whose features grow robust for six epochs, and watch it."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(30, 16))
    rule = medtransfer.StoppingRule("patience-2")
    for epoch in range(1, 21):
        noise = 0.3 + 0.1 * abs(epoch - 6)  # stands for one epoch of training
        first, second = (images + rng.normal(scale=noise, size=images.shape) for _ in range(2))
        score = medtransfer.robustness(first, second)
        print(f"epoch {epoch}: {score.value:.3f}")
        if rule.update(epoch, score):
            break
    print(f"stopped after epoch {rule.stopped_at}; keep the checkpoint of epoch {rule.choice}")


if __name__ == "__main__":
    main()
