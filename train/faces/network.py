"""The face detector's network: one look, no anchors, made for INT8. 118,944 parameters at the recipe's widths.

In the spirit of YuNet (Wu, Peng and Yu 2023) and SCRFD (Guo et al. 2021, https://arxiv.org/abs/2105.04714): depth-wise
blocks, strides 8, 16 and 32, a top-down path between them. Convolution, batch norm, ReLU and addition are all there is,
and boxes are decoded outside, so every tensor is bounded. The three layers that shrink first are plain convolutions: on
a CPU they train 1.3 times as fast as depth-wise ones. Knows nothing of what its sixteen channels mean but their order.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.faces.anchor_free import CHANNELS
from train.networks.convolutions import separable_conv
from train.networks.normalize import Normalize

OUTPUTS = sum(CHANNELS.values())  # cls, obj, bbox, kps
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25  # near enough to any photograph's; the first batch norm does the rest
RARE = 0.01  # what objectness says before it has learnt (Lin et al. 2017, https://arxiv.org/abs/1708.02002, 4.1)


class FaceDetector(nn.Module):
    """(N, 1, H, W) uint8 or 0–255 float grey, H and W multiples of 32 → (N, cells, 16) float logits and offsets.

    widths: channels at strides 2, 4, 8, 16, 32. blocks: depth-wise blocks at strides 8, 16, 32 beside the one that
    shrinks. Cells are in the order of `runtime.faces.anchor_free.cells_of`.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96, 96), blocks: tuple[int, ...] = (2, 2, 1)):
        super().__init__()
        self.normalize = Normalize(PIXEL_MEAN, PIXEL_STD)
        stem, quarter, *wide = widths
        self.stem = nn.Sequential(_shrinking(1, stem), _shrinking(stem, quarter))
        self.stages = nn.ModuleList()
        before = quarter
        for level, (width, count) in enumerate(zip(wide, blocks)):
            first = _shrinking(before, width) if level == 0 else _shrinking_separable(before, width)
            self.stages.append(nn.Sequential(first, *(separable_conv(width, width) for _ in range(count))))
            before = width
        neck = wide[0]
        self.lateral = nn.ModuleList(_mixing(width, neck) for width in wide)
        self.smooth = nn.ModuleList(separable_conv(neck, neck) for _ in wide)
        self.heads = nn.ModuleList(_head(neck) for _ in wide)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.cat([head.flatten(2).transpose(1, 2) for head in self.maps(pixels)], dim=1)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Return each stride's (N, 16, H / stride, W / stride)."""
        features, levels = self.stem(self.normalize(pixels)), []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        above: Tensor | None = None
        maps: list[Tensor] = []
        for features, lateral, smooth, head in reversed(list(zip(levels, self.lateral, self.smooth, self.heads))):
            mixed = lateral(features)
            above = smooth(mixed if above is None else mixed + F.interpolate(above, scale_factor=2.0))
            maps.insert(0, head(above))
        return maps


def _shrinking(channels_in: int, channels_out: int) -> nn.Sequential:
    """3×3 convolution of stride 2 → BN → ReLU."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False), nn.BatchNorm2d(channels_out),
                         nn.ReLU(inplace=True))


def _shrinking_separable(channels_in: int, channels_out: int) -> nn.Sequential:
    """The house's separable convolution with its depth-wise half at stride 2."""
    block = separable_conv(channels_in, channels_out)
    block[0] = nn.Conv2d(channels_in, channels_in, 3, 2, 1, groups=channels_in, bias=False)
    return block


def _mixing(channels_in: int, channels_out: int) -> nn.Sequential:
    """1×1 convolution → BN → ReLU."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out),
                         nn.ReLU(inplace=True))


def _head(channels: int) -> nn.Sequential:
    """Depth-wise 3×3 → BN → ReLU → 1×1 to the outputs; objectness starts rare, boxes in the middle of their cell."""
    last = nn.Conv2d(channels, OUTPUTS, 1)
    nn.init.normal_(last.weight, std=0.01)
    start = [0.0, -math.log((1 - RARE) / RARE), *[0.5] * (OUTPUTS - 2)]
    last.bias = nn.Parameter(torch.tensor(start))
    return nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False), nn.BatchNorm2d(channels),
                         nn.ReLU(inplace=True), last)
