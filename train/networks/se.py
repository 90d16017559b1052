"""Squeeze and excitation: two small dense layers on pooled channels weigh the channels.

Hu, Shen and Sun, CVPR 2018, https://arxiv.org/abs/1709.01507, equations 2–4; reduction r = 16.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.attended_maps import mean_over_places


class SqueezeExcitation(nn.Module):
    """(N, C, H, W) → (N, C, H, W): F · σ(W2 ReLU(W1 GAP(F)))."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze, self.excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        weights = self.excite(self.squeeze(mean_over_places(features)).relu()).sigmoid()
        return features * weights[:, :, None, None]
