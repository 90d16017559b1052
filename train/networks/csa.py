"""Channel and spatial attention in parallel: M(F) = F·M_c(F) + F·M_s(F).

Paper E (ICJE 8(5), 2022, https://doi.org/10.6919/ICJE.202205_8(5).0032), equations 1–3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.networks.eca import ChannelAttention


class SpatialAttention(nn.Module):
    """(N, C, H, W) → weights (N, 1, H, W) in 0–1: σ(1×1 conv of [max; mean] over the channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        largest = features.max(dim=1, keepdim=True).values  # amax has a slow gradient: it shares ties out
        pooled = torch.cat([largest, features.mean(dim=1, keepdim=True)], dim=1)
        return self.mix(pooled).sigmoid()


class ChannelSpatialAttention(nn.Module):
    """(N, C, H, W) → (N, C, H, W), reweighted by channel and by place."""

    def __init__(self, channels: int):
        super().__init__()
        self.channel, self.spatial = ChannelAttention(channels), SpatialAttention()

    def forward(self, features: Tensor) -> Tensor:
        return features * (self.channel(features) + self.spatial(features))
