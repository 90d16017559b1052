"""vgg16, vgg19: the networks of Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, configurations D and E.

At 224×224×3 and 1,000 classes VGG16 has the layer counts paper A prints in its table 1 (138,357,544 in all). At
48×48×1 the last pooling leaves 1×1×512, and the same three dense layers follow: the papers' baseline. The layers'
names and order are torchvision's, so its state dicts fit as they are at 224×224×3.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.normalize import normalize_for
from train.networks.product_conv import ProductConv2d

VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG19_STAGES = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
HIDDEN = 4096


class ClassicVGG(nn.Module):
    """(N, channels, size, size) uint8 or 0–255 float → (N, classes) logits."""

    stages: tuple[tuple[int, ...], ...]

    def __init__(self, classes: int, dropout: float = 0.5, channels: int = 1, size: int = 48):
        super().__init__()
        self.normalize = normalize_for(channels)
        layers: list[nn.Module] = []
        for widths in self.stages:
            for width in widths:
                layers += [ProductConv2d(channels, width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        side = size >> len(self.stages)  # each pooling halves and rounds down
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(HIDDEN, classes),
        )
        # Without batch norm sixteen layers only train from He's start (https://arxiv.org/abs/1502.01852)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalize(pixels)).flatten(1))


class VGG16(ClassicVGG):
    """Configuration D: thirteen convolutions, three dense layers."""

    stages = VGG16_STAGES


class VGG19(ClassicVGG):
    """Configuration E: sixteen convolutions, three dense layers."""

    stages = VGG19_STAGES
