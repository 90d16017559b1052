"""Channel and spatial attention in parallel: M(F) = F·M_c(F) + F·M_s(F).

Paper E (ICJE 8(5), 2022, https://doi.org/10.6919/ICJE.202205_8(5).0032), equations 1–3.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.attended_maps import joint_weights, largest_and_mean_over_channels
from train.networks.eca import ChannelAttention


class SpatialAttention(nn.Module):
    """(N, C, H, W) → weights (N, 1, H, W) in 0–1: σ(1×1 conv of [max; mean] over the channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.mix(largest_and_mean_over_channels(features)).sigmoid()


class ChannelSpatialAttention(nn.Module):
    """(N, C, H, W) → (N, C, H, W), reweighted by channel and by place."""

    def __init__(self, channels: int):
        super().__init__()
        self.channel, self.spatial = ChannelAttention(channels), SpatialAttention()

    def forward(self, features: Tensor) -> Tensor:
        return features * joint_weights(self.channel(features), self.spatial(features))
