"""Convolutions → average over places → dropout → one dense layer: the form that most families here end in.

Knows nothing of what the convolutions are. The average is Lin et al. 2014 (https://arxiv.org/abs/1312.4400).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.networks.normalize import normalize_for


class PooledClassifier(nn.Module):
    """(N, channels, H, W) uint8 or 0–255 float → (N, classes) logits; `width` channels leave `features`."""

    def __init__(self, channels: int, features: Sequence[nn.Module], width: int, classes: int, dropout: float):
        super().__init__()
        self.normalize = normalize_for(channels)
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.pool(self.features(self.normalize(pixels))).flatten(1)
        return self.classify(self.dropout(features))
