"""improved-vgg16: VGG16 with batch norm, dropout between convolutions and at most one small hidden layer (paper A).

"FER based on improved VGG16", section 3: the first two dense layers go, the last hidden one has 0, 256, 512 or 1,024
neurons. The paper says dropout stands "between each convolution" and "before the last three": here between every two
consecutive ones (twelve places), none in the head. It prints no rate; 0.3 is ours. Convolutions keep table 1's biases.
"""

from __future__ import annotations

from torch import Tensor, nn

from runtime.errors import BadInput
from train.networks.byte_dropout import ByteDropout
from train.networks.convolutions import plain_conv
from train.networks.normalize import normalize_for
from train.networks.vgg_classic import VGG16_STAGES


class ImprovedVGG16(nn.Module):
    """(N, channels, H, W) uint8 or 0–255 float, H and W ≥ 32 → (N, classes) logits.

    hidden: neurons of the last hidden layer; 0 is none, the paper's best. The average over places changes nothing at
    48×48, where 1×1 is left, and makes other sizes possible.
    """

    def __init__(self, classes: int, dropout: float = 0.3, channels: int = 1, *, hidden: int = 0):
        super().__init__()
        if hidden < 0:
            raise BadInput(f"expected hidden ≥ 0, found {hidden}; the paper's are 0, 256, 512 and 1024")
        self.normalize = normalize_for(channels)
        layers: list[nn.Module] = []
        for widths in VGG16_STAGES:
            for width in widths:
                if layers:
                    layers.append(ByteDropout(dropout))
                layers.append(plain_conv(channels, width, bias=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        head = [nn.Linear(channels, hidden), nn.ReLU(inplace=True)] if hidden else []
        self.classify = nn.Sequential(*head, nn.Linear(hidden or channels, classes))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classify(self.pool(self.features(self.normalize(pixels))).flatten(1))
