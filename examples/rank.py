"""Rank two encoders on folders of images and masks: python examples/rank.py IMAGES MASKS."""

import sys

import medtransfer


def main(images: str, masks: str) -> None:
    """Rank random weights of a small ResNet and a small U-Net, which needs no weights at hand."""
    ranking = medtransfer.rank(images, masks, candidates=["random@resnet10t", "random@unet"], size=[64, 64], indicators=["ridge"])
    for index in ranking.order:
        best = "among the best" if index in ranking.kept else "behind"
        print(f"{ranking.candidates[index].name}: {ranking.values('ridge')[index]:.3f}, {best}")


if __name__ == "__main__":  # candidates are measured in processes, which import this file
    main(*sys.argv[1:])
