"""Robustness of two encoders at hand to noise in their input: python examples/robustness.py."""

import numpy as np

import medtransfer


def main() -> None:
    """Compare an encoder that averages its input with one that passes it on."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 8)).repeat(16, axis=1)  # 40 images of 8 flat regions, (40, 128)
    patients = [f"patient {index // 2}" for index in range(40)]
    views = [images + rng.normal(scale=2.0, size=images.shape) for _ in range(2)]
    encoders = {"averages": lambda view: view.reshape(40, 8, 16).mean(axis=2), "passes on": lambda view: view}
    for name, encode in encoders.items():
        score = medtransfer.robustness(encode(views[0]), encode(views[1]), groups=patients)
        print(f"{name}: {score.value:.3f}, standard error {score.error:.3f}")


if __name__ == "__main__":
    main()
