"""A name goes in; an encoder, a segmentation model or a classifier comes out: the architectures of the study."""

from medtransfer.models.build import ENCODERS, SEGMENTERS, build_encoder, build_segmenter
from medtransfer.models.classifier import Classifier
from medtransfer.models.encoder import Encoder, Level
from medtransfer.models.segmenter import Segmenter

__all__ = ["ENCODERS", "SEGMENTERS", "Classifier", "Encoder", "Level", "Segmenter", "build_encoder", "build_segmenter"]
