"""Convolutional block attention: channel weights first, then place weights of what remains.

Woo et al., ECCV 2018, https://arxiv.org/abs/1807.06521, equations 1–3; r = 16 and a 7×7 convolution.
The authors' code adds a batch norm behind that convolution, which the equations do not have; nor does this.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.networks.attended_maps import mean_over_places


class ChannelGate(nn.Module):
    """(N, C, H, W) → weights (N, C, 1, 1) in 0–1: σ(MLP(mean) + MLP(max)), one MLP for both."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.shared = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, features: Tensor) -> Tensor:
        mean, largest = mean_over_places(features), features.amax(dim=(2, 3))
        return (self.shared(mean) + self.shared(largest)).sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """(N, C, H, W) → weights (N, 1, H, W) in 0–1: σ(7×7 conv of [mean; max] over the channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        pooled = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return self.mix(pooled).sigmoid()


class CBAM(nn.Module):
    """(N, C, H, W) → (N, C, H, W), reweighted by channel, then by place."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.channel, self.spatial = ChannelGate(channels, reduction), SpatialGate()

    def forward(self, features: Tensor) -> Tensor:
        features = features * self.channel(features)
        return features * self.spatial(features)
