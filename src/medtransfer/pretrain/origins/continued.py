"""Continual pretraining: the encoder starts from a checkpoint and is trained on another source, under a new head.

In-domain weights come about so: photographs, then chest X-rays, then a target. Source: Hosseinzadeh Taher et al. 2021
(arXiv 2108.05930), section 3, who continue from supervised ImageNet weights.
"""

from medtransfer.config import ContinuedOrigin
from medtransfer.pretrain.origins.supervised import Supervised


class Continued(Supervised):
    """Encoder of a checkpoint and a new head, trained on the origin's source; epoch 0 is that encoder. See `Origin`."""

    section = ContinuedOrigin
