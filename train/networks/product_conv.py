"""A 3×3 convolution that is one matrix product where its maps are small, in bfloat16 on a CPU; elsewhere PyTorch's own.

oneDNN's gradient of the weights adds up image by image: 512 × 512 channels over 2×2 pixels read and write nine
megabytes an image. Written as columns (Chellapilla et al. 2006, https://inria.hal.science/inria-00112631) the batch is
one product, several times as fast; over large maps copying the columns costs more than it saves. Same values, rounded
once more or less; nothing of it reaches an export, which is made in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# pixels of a map up to which the product was faster, at 512 channels: 6×6 (1.8 ×), 5×5 (3 ×), 3×3 (4 ×), 2×2 (6 ×)
SMALL_MAP = 36
FEW_CHANNELS = 256  # below, oneDNN is the faster one at any size


class ProductConv2d(nn.Conv2d):
    """`nn.Conv2d(channels_in, channels_out, 3, padding=1)`: the same parameters, the same answers."""

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True):
        super().__init__(channels_in, channels_out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) → (N, channels_out, H, W)."""
        if not (self.training and x.dtype == torch.bfloat16 and x.device.type == "cpu"
                and self.in_channels >= FEW_CHANNELS and x.shape[2] * x.shape[3] <= SMALL_MAP):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        # the maps are a view made outside the function: an activation may then write over them in place
        return _as_maps(_Product.apply(x, self.weight.to(x.dtype), bias), x.shape)


class _Product(torch.autograd.Function):
    """Columns times weights, (N·H·W, channels_out), and the two products of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = _columns(x)
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.has_bias = x.shape, bias is not None
        return functional.linear(rows, weight.permute(0, 2, 3, 1).flatten(1), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        rows, weight = ctx.saved_tensors
        of_weight = (upstream.t() @ rows).view(weight.shape[0], 3, 3, -1).permute(0, 3, 1, 2)
        # the gradient of the input is a convolution too, with the weights turned by half a turn
        turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, weight.shape[1])
        of_input = _as_maps(_columns(_as_maps(upstream, ctx.shape)) @ turned, ctx.shape)
        return of_input, of_weight, upstream.sum(0) if ctx.has_bias else None


def _columns(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N·H·W, 9·C): each pixel's 3×3 neighbours, zeros outside, channels innermost."""
    height, width = x.shape[2:]
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    parts = [padded[:, i:i + height, j:j + width] for i in range(3) for j in range(3)]
    return torch.cat(parts, -1).flatten(0, 2)


def _as_maps(rows: Tensor, shape: torch.Size) -> Tensor:
    """(N·H·W, C) → (N, C, H, W), channels last in memory."""
    return rows.view(shape[0], shape[2], shape[3], -1).permute(0, 3, 1, 2)
