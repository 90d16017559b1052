"""Concurrent spatial and channel squeeze and excitation, added: U_cSE + U_sSE.

Roy, Navab and Wachinger, MICCAI 2018, https://arxiv.org/abs/1803.02579, the channels' hidden layer is C/2 wide, the
places' weight a 1×1 convolution without bias.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.se import SqueezeExcitation


class ConcurrentSqueezeExcitation(nn.Module):
    """(N, C, H, W) → (N, C, H, W): SE(F) + F · σ(W_sq ⋆ F)."""

    def __init__(self, channels: int):
        super().__init__()
        self.channel = SqueezeExcitation(channels, reduction=2)
        self.spatial = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.channel(features) + features * self.spatial(features).sigmoid()
