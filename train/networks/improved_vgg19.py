"""improved-vgg19: VGG19 of conv-BN-ReLU blocks, average pooling, dropout and a single dense layer (paper C).

"Improved VGG19", section II. Its text puts average pooling into every block and speaks of one dense layer, "then
another"; read here as the public code whose protocol it shares (44×44 of 48×48, ten-crop, 250 epochs;
https://github.com/WuJie1010/Facial-Expression-Recognition.Pytorch, models/vgg.py): max pooling between the stages, one
average at the end, dropout 0.5, one dense layer. At 44×44 the last pooling leaves 1×1.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.convolutions import plain_conv
from train.networks.normalize import normalize_for
from train.networks.vgg_classic import VGG19_STAGES


class ImprovedVGG19(nn.Module):
    """(N, channels, H, W) uint8 or 0–255 float, H and W ≥ 32 → (N, classes) logits."""

    def __init__(self, classes: int, dropout: float = 0.5, channels: int = 1):
        super().__init__()
        self.normalize = normalize_for(channels)
        layers: list[nn.Module] = []
        for widths in VGG19_STAGES:
            for width in widths:
                layers.append(plain_conv(channels, width, bias=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.pool(self.features(self.normalize(pixels))).flatten(1)
        return self.classify(self.dropout(features))
