"""improved-vgg19: VGG19 of conv-BN-ReLU blocks, average pooling, dropout and a single dense layer (paper C).

"Improved VGG19", section II. Its text puts average pooling into every block and speaks of one dense layer, "then
another"; read here as the public code whose protocol it shares (44×44 of 48×48, ten-crop, 250 epochs;
https://github.com/WuJie1010/Facial-Expression-Recognition.Pytorch, models/vgg.py): max pooling between the stages, one
average at the end, dropout 0.5, one dense layer. At 44×44 the last pooling leaves 1×1.
"""

from __future__ import annotations

from torch import nn

from train.networks.convolutions import plain_conv
from train.networks.pooled_classifier import PooledClassifier
from train.networks.vgg_classic import VGG19_STAGES


class ImprovedVGG19(PooledClassifier):
    """(N, channels, H, W) uint8 or 0–255 float, H and W ≥ 32 → (N, classes) logits."""

    def __init__(self, classes: int, dropout: float = 0.5, channels: int = 1):
        layers: list[nn.Module] = []
        width = channels
        for widths in VGG19_STAGES:
            for wider in widths:
                layers.append(plain_conv(width, wider, bias=True))
                width = wider
            layers.append(nn.MaxPool2d(2))
        super().__init__(channels, layers, width, classes, dropout)
