"""Mean and standard deviation of ImageNet's training images per channel, RGB in [0, 1].

Source: the transforms of torchvision's published weights.
"""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
