"""medtransfer: which pretrained encoder, pretrained for how long, should a medical segmentation start from."""

__version__ = "0.1.0"
