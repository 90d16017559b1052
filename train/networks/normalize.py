"""uint8 pixels → centred floats, as a network's first layer, so that the exported graph does it too.

Knows nothing of crops or of the order of colours: those are the card's, and `runtime/preprocess.py` carries them out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Mean and standard deviation of the 28,709 FER2013 training faces, pixels scaled to 0–1
# (`mien data check fer2013 PATH` prints them).
FER2013_MEAN, FER2013_STD = 0.5077, 0.2551

# Red, green, blue of ImageNet, as torchvision's VGG weights were trained with them
# (https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vgg16.html).
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """(pixels / 255 - mean) / std; takes uint8 or 0–255 floats, any shape."""

    def __init__(self, mean: float = FER2013_MEAN, std: float = FER2013_STD):
        super().__init__()
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32) * self.scale + self.shift


class NormalizeColour(nn.Module):
    """(pixels / 255 - mean) / std for each channel of (N, 3, H, W) RGB, uint8 or 0–255 floats."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD):
        super().__init__()
        scale = [1 / (255 * s) for s in std]
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        # constants of the network, not weights: a checkpoint need not carry them
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32) * self.scale + self.shift


def normalize_for(channels: int) -> nn.Module:
    """Return the first layer for grey (1) or RGB (3) faces."""
    return Normalize() if channels == 1 else NormalizeColour()
