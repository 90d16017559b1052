"""small-vgg: a plain conv-BN-ReLU stack for 48×48 faces, 1.9 M parameters, made for INT8.

VGG's idea (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556) at a tenth of its width; global average
pooling instead of hidden layers (Lin et al. 2014, https://arxiv.org/abs/1312.4400). Takes any size from 16×16 up.
"""

from __future__ import annotations

from torch import nn

from train.networks.convolutions import plain_conv
from train.networks.pooled_classifier import PooledClassifier

STAGES = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256))


class SmallVGG(PooledClassifier):
    """(N, channels, H, W) uint8 or 0–255 float → (N, classes) logits."""

    def __init__(self, classes: int, dropout: float = 0.0, channels: int = 1):
        layers: list[nn.Module] = []
        width = channels
        for stage, widths in enumerate(STAGES):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for wider in widths:
                layers.append(plain_conv(width, wider))
                width = wider
        super().__init__(channels, layers, width, classes, dropout)
