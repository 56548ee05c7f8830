"""Use a fine-tuned model on files and on arrays: python examples/predict.py MODEL IMAGES."""

import logging
import sys

import numpy as np
from PIL import Image

import medtransfer


def main(folder: str, images: str) -> None:
    """Write the masks of a folder of pictures, then compute the same for one of them in memory."""
    masks = medtransfer.predict(images, folder)  # files, in the geometry of the images
    for image, mask in sorted(masks.items()):
        print(f"{image}: {mask}")
    model = medtransfer.load_model(folder)
    with Image.open(f"{images}/{min(masks)}.png") as picture:
        pixels = np.asarray(picture.convert("L" if model.info.channels == 1 else "RGB"))
    batch = pixels.reshape(1, *pixels.shape[:2], -1)  # (N, H, W, C)
    probabilities = model.predict(batch)  # (N, outputs, H, W)
    print(f"{model.info.classes} at {probabilities.shape[2:]}, highest probability {probabilities.max():.3f}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows what a long call is doing
    main(*sys.argv[1:])
