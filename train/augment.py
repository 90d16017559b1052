"""Random geometry, light and occlusion for a whole batch of faces at once, as tensor operations.

One sampling grid a batch does flip, rotation, scale, shift and the change of size in a single bilinear pass. Knows
nothing of labels. All randomness comes from the generator given, so an epoch can be replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far each random change may go; zeros switch a change off."""

    flip: float = 0.5  # probability of a mirrored face
    rotation: float = 12.0  # degrees either way
    scale: float = 0.12  # share larger or smaller
    shift: float = 0.08  # share of the side, each axis
    contrast: float = 0.2  # share more or less, about the face's mean
    brightness: float = 20.0  # grey levels either way
    cutout: float = 0.5  # probability of one square hole (DeVries and Taylor 2017, arXiv:1708.04552)
    cutout_size: float = 0.33  # the hole's largest side, as a share of the face's

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.cutout <= 1):
            raise ValueError(f"expected probabilities of 0–1, found flip {self.flip}, cutout {self.cutout}")
        if not (0 <= self.scale < 1 and 0 <= self.shift < 1 and 0 <= self.cutout_size <= 1):
            raise ValueError(f"expected shares of 0–1, found scale {self.scale}, shift {self.shift}")


def augment(faces: Tensor, size: int, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Change a batch of faces at random.

    faces: (N, 1, H, W) uint8. Returns (N, 1, size, size) float32 of 0–255; what the grid takes from outside the face
    repeats its border.
    """
    n = len(faces)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(how.rotation))
    zoom = 1 + uniform(how.scale)
    mirror = torch.where(torch.rand(n, generator=generator) < how.flip, -1.0, 1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # affine_grid's coordinates run from -1 to 1, so a shift by a share of the side is twice as much
    shift_x, shift_y = uniform(2 * how.shift), uniform(2 * how.shift)
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin, shift_x], 1), torch.stack([sin * mirror, cos, shift_y], 1)], 1
    )
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    faces = F.grid_sample(faces.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)

    mean = faces.mean(dim=(2, 3), keepdim=True)
    gain = (1 + uniform(how.contrast)).view(n, 1, 1, 1)
    faces = ((faces - mean) * gain + mean + uniform(how.brightness).view(n, 1, 1, 1)).clamp_(0, 255)
    if how.cutout:
        faces = _cut_out(faces, how, generator)
    return faces


def _cut_out(faces: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Fill one square of some faces with the face's mean."""
    n, _, size, _ = faces.shape
    side = torch.rand(n, generator=generator) * how.cutout_size * size
    side = torch.where(torch.rand(n, generator=generator) < how.cutout, side, torch.zeros(n))
    x, y = torch.rand(n, generator=generator) * size, torch.rand(n, generator=generator) * size
    pixel = torch.arange(size) + 0.5
    inside_x = (pixel - x[:, None]).abs() < side[:, None] / 2
    inside_y = (pixel - y[:, None]).abs() < side[:, None] / 2
    hole = (inside_y[:, :, None] & inside_x[:, None, :]).unsqueeze(1)
    return torch.where(hole, faces.mean(dim=(2, 3), keepdim=True), faces)
