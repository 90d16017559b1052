"""The two convolution blocks of this house, both with batch norm and ReLU: plain, and depth-wise separable.

The separable one is MobileNet's, one 3×3 filter a channel, then a 1×1 mix of channels, batch norm and ReLU after both
(Howard et al. 2017, https://arxiv.org/abs/1704.04861, figure 3). Knows nothing of where a network pools.
"""

from __future__ import annotations

from torch import nn

from train.networks.product_conv import ProductConv2d


def separable_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return depth-wise 3×3 → BN → ReLU → point-wise 1×1 → BN → ReLU; keeps height and width."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def plain_conv(channels_in: int, channels_out: int, bias: bool = False) -> nn.Sequential:
    """Return 3×3 convolution → BN → ReLU; keeps height and width.

    Batch norm makes the bias superfluous; VGG's published layers and weights have one all the same.
    """
    return nn.Sequential(
        ProductConv2d(channels_in, channels_out, bias=bias),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
