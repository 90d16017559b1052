"""light-vgg16: VGG16 of depth-wise separable convolutions with channel + spatial attention, 1.7 M parameters.

Paper E (ICJE 8(5), 2022), figure 6: thirteen separable convolutions, attention before each pooling, global average
pooling and one linear layer. The paper does not print the depth-wise block; MobileNet's is used. `attention` and
`position` are its tables 2–4.
"""

from __future__ import annotations

from torch import nn

from train.networks.attention import AttentionKind, AttentionPosition, attention_layers
from train.networks.convolutions import separable_conv
from train.networks.pooled_classifier import PooledClassifier
from train.networks.vgg_classic import VGG16_STAGES


class LightVGG16(PooledClassifier):
    """(N, channels, H, W) uint8 or 0–255 float, H and W ≥ 32 → (N, classes) logits.

    position: after each of the thirteen convolutions, or before or after each of the five poolings (table 2).
    """

    def __init__(
        self,
        classes: int,
        dropout: float = 0.0,
        channels: int = 1,
        *,
        attention: AttentionKind = "csa",
        position: AttentionPosition = "before-pool",
    ):
        layers: list[nn.Module] = []
        width = channels
        for widths in VGG16_STAGES:
            for wider in widths:
                layers.append(separable_conv(width, wider))
                width = wider
                if position == "after-conv":
                    layers += attention_layers(attention, width)
            if position == "before-pool":
                layers += attention_layers(attention, width)
            layers.append(nn.MaxPool2d(2))
            if position == "after-pool":
                layers += attention_layers(attention, width)
        super().__init__(channels, layers, width, classes, dropout)
