"""Rank two encoders on folders of images and masks: python examples/rank.py IMAGES MASKS."""

import logging
import sys

import medtransfer


def main(images: str, masks: str) -> None:
    """Rank random weights of a small ResNet and a small U-Net, which needs no weights at hand."""
    settings = {"size": [64, 64], "indicators": ["ridge"], "workers": 1}  # without `workers`: as many processes as cores
    ranking = medtransfer.rank(images, masks, candidates=["random@resnet10t", "random@unet"], **settings)
    for index in ranking.order:
        best = "among the best" if index in ranking.kept else "behind"
        print(f"{ranking.candidates[index].name}: {ranking.values('ridge')[index]:.3f}, {best}")


if __name__ == "__main__":  # processes that measure candidates import this file
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows what a long call is doing
    main(*sys.argv[1:])
