"""Efficient channel attention: a one-dimensional convolution across pooled channels.

Wang et al., ECA-Net, CVPR 2020, https://arxiv.org/abs/1910.03151, equation 5 and section 3.2.3.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from train.networks.attended_maps import mean_over_places


def eca_kernel_size(channels: int, gamma: int = 2, b: int = 1) -> int:
    """Return k = |log2(C)/γ + b/γ|_odd, the odd number the ECA authors' code takes: truncate, then round up to odd."""
    k = int(abs(math.log2(channels) / gamma + b / gamma))
    return k if k % 2 else k + 1


class ChannelAttention(nn.Module):
    """(N, C, H, W) → weights (N, C, 1, 1) in 0–1: σ(Conv1D(GAP(F)))."""

    def __init__(self, channels: int):
        super().__init__()
        k = eca_kernel_size(channels)
        self.mix = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        pooled = mean_over_places(features).unsqueeze(1)  # (N, 1, C)
        return self.mix(pooled).sigmoid().transpose(1, 2).unsqueeze(-1)
