"""An attention module by the name a recipe gives it, and where in a VGG stage it may stand.

Knows nothing of a network's widths. Paper E's "Base+CA" and "ECA-Net" rows are one network (98.35 and 97.26 in both
of its tables), so "ca" and "eca" are one here.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from train.networks.cbam import CBAM
from train.networks.csa import ChannelSpatialAttention, SpatialAttention
from train.networks.eca import ChannelAttention
from train.networks.scse import ConcurrentSqueezeExcitation
from train.networks.se import SqueezeExcitation

AttentionKind = Literal["none", "csa", "ca", "sa", "se", "eca", "cbam", "scse"]
AttentionPosition = Literal["after-conv", "before-pool", "after-pool"]


class Reweighted(nn.Module):
    """(N, C, H, W) → the same features times the weights, which broadcast over channels or places."""

    def __init__(self, weights: nn.Module):
        super().__init__()
        self.weights = weights

    def forward(self, features: Tensor) -> Tensor:
        return features * self.weights(features)


def attention_layers(kind: AttentionKind, channels: int) -> list[nn.Module]:
    """Return the attention as a list of one layer, or none at all for "none"."""
    match kind:
        case "none":
            return []
        case "csa":
            return [ChannelSpatialAttention(channels)]
        case "ca" | "eca":
            return [Reweighted(ChannelAttention(channels))]
        case "sa":
            return [Reweighted(SpatialAttention())]
        case "se":
            return [SqueezeExcitation(channels)]
        case "cbam":
            return [CBAM(channels)]
        case "scse":
            return [ConcurrentSqueezeExcitation(channels)]
    raise ValueError(f"expected an attention of {AttentionKind}, found {kind!r}")
