"""What an attention does to whole maps, fast in bfloat16 on a CPU: two poolings, and a sum of weights.

There PyTorch's mean takes six times its sum's time, and what it broadcasts, forward or back, comes in another memory
layout than the features have, so that whatever joins the two strides through memory. Elsewhere all is PyTorch's own,
and so is every export; the same values, rounded once more or less. Knows nothing of what the weights are made of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def mean_over_places(features: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C)."""
    return _MeanOverPlaces.apply(features) if _slow(features) else features.mean(dim=(2, 3))


def largest_and_mean_over_channels(features: Tensor) -> Tensor:
    """(N, C, H, W) → (N, 2, H, W), the largest first; its gradient goes to one channel, also where several tie."""
    if _slow(features):
        return _LargestAndMeanOverChannels.apply(features)
    largest = features.max(dim=1, keepdim=True).values  # amax has a slow gradient: it shares ties out
    return torch.cat([largest, features.mean(dim=1, keepdim=True)], dim=1)


def joint_weights(channel: Tensor, spatial: Tensor) -> Tensor:
    """(N, C, 1, 1) and (N, 1, H, W) → their sum, (N, C, H, W)."""
    if _slow(spatial):
        return (channel.permute(0, 2, 3, 1) + spatial.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return channel + spatial


def _slow(features: Tensor) -> bool:
    return features.requires_grad and features.dtype == torch.bfloat16 and features.device.type == "cpu"


class _MeanOverPlaces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.places = features.shape[2:]
        return features.sum(dim=(2, 3)) / ctx.places.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        shared = upstream[:, None, None] / ctx.places.numel()
        return shared.repeat(1, *ctx.places, 1).permute(0, 3, 1, 2)  # channels innermost in memory


class _LargestAndMeanOverChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        largest, at = features.max(dim=1, keepdim=True)
        ctx.save_for_backward(at)
        ctx.channels = features.shape[1]
        return torch.cat([largest, features.sum(dim=1, keepdim=True) / ctx.channels], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (at,) = ctx.saved_tensors
        of_largest, of_mean = upstream.permute(0, 2, 3, 1).split(1, dim=3)
        rows = (of_mean / ctx.channels).repeat(1, 1, 1, ctx.channels)
        return rows.scatter_add_(3, at.permute(0, 2, 3, 1), of_largest).permute(0, 3, 1, 2)
