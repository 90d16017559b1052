"""lip-vgg16: VGG16 with Local Importance Pooling, its dense layers become two convolutions and one dense (paper B).

J. Phys. Conf. Ser. 2083 (2021) 032030. Its section 2.1 has conv-BN-ReLU. It gives the two convolutions neither width
nor kernel: 3×3×512 is VGG's own. RAF-DB's 90×90 weights start SFEW's 112×112, so the dense layer must not depend on
the size: an average over places stands before it. "Adaptive channel attention at the end" is in no table: an option.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from train.networks.attention import attention_layers
from train.networks.convolutions import plain_conv
from train.networks.lip import Bound, LocalImportancePooling
from train.networks.normalize import normalize_for
from train.networks.vgg_classic import VGG16_STAGES


class LIPVGG16(nn.Module):
    """(N, channels, H, W) uint8 or 0–255 float, H and W ≥ 32 → (N, classes) logits.

    pooling: "max" is the ablation without LIP. bound: see `lip.py`. attention: on the last convolution's features;
    "eca" is the adaptive one. dropout: before the dense layer, VGG's 0.5 since the paper is silent.
    """

    def __init__(
        self,
        classes: int,
        dropout: float = 0.5,
        channels: int = 3,
        *,
        pooling: Literal["lip", "max"] = "lip",
        bound: Bound = "half-safe",
        attention: Literal["none", "eca", "se"] = "none",
    ):
        super().__init__()
        self.normalize = normalize_for(channels)
        layers: list[nn.Module] = []
        for widths in VGG16_STAGES:
            for width in widths:
                layers.append(plain_conv(channels, width, bias=True))
                channels = width
            layers.append(LocalImportancePooling(channels, bound) if pooling == "lip" else nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            plain_conv(channels, channels), plain_conv(channels, channels), *attention_layers(attention, channels)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.head(self.features(self.normalize(pixels)))
        return self.classify(self.dropout(self.pool(features).flatten(1)))
