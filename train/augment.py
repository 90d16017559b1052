"""Random geometry, light and occlusion for a whole batch of faces at once, as tensor operations.

One sampling grid a batch does flip, rotation, scale, shift, crop and the change of size in a single bilinear pass;
mirrors and crops alone only pick pixels.
Knows nothing of labels. All randomness comes from the generator given, so an epoch can be replayed; it is drawn for
the whole batch before any pixel is touched, so processes that share a batch draw the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far each random change may go; zeros switch a change off."""

    flip: float = 0.5  # probability of a mirrored face
    vertical_flip: float = 0.0  # probability of a face upside down
    rotation: float = 12.0  # degrees either way
    scale: float = 0.12  # share larger or smaller
    shift: float = 0.08  # share of the side, each axis
    contrast: float = 0.2  # share more or less, about the face's mean
    brightness: float = 20.0  # grey levels either way
    cutout: float = 0.5  # probability of one square hole (DeVries and Taylor 2017, arXiv:1708.04552)
    cutout_size: float = 0.33  # the hole's largest side, as a share of the face's

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.vertical_flip <= 1 and 0 <= self.cutout <= 1):
            raise ValueError(f"expected probabilities of 0–1, found flip {self.flip}, vertical_flip "
                             f"{self.vertical_flip}, cutout {self.cutout}")
        if not (0 <= self.scale < 1 and 0 <= self.shift < 1 and 0 <= self.cutout_size <= 1):
            raise ValueError(f"expected shares of 0–1, found scale {self.scale}, shift {self.shift}")


@dataclass(frozen=True)
class Changes:
    """What happens to each of N faces. Every tensor is (N,) float32."""

    moves: bool  # whether any face is turned, scaled or shifted: known before drawing, so no device is asked
    lights: bool
    cuts: bool
    mirror: Tensor  # 1 or -1
    upside: Tensor  # 1 or -1
    angle: Tensor  # radians
    zoom: Tensor  # above 1 shows more than the face
    right: Tensor  # of the sampling grid, where the face is 2 wide
    down: Tensor
    place_x: Tensor  # of a crop: 0–1 of the room it has
    place_y: Tensor
    gain: Tensor
    offset: Tensor  # grey levels
    hole: Tensor  # side as a share of the face's, 0 without one
    hole_x: Tensor  # 0–1
    hole_y: Tensor

    def __getitem__(self, rows: slice) -> Changes:
        return self._each(lambda values: values[rows])

    def to(self, device: torch.device) -> Changes:
        """Move every tensor to a device."""
        return self if self.mirror.device == device else self._each(lambda values: values.to(device))

    def _each(self, do: Callable[[Tensor], Tensor]) -> Changes:
        tensors: dict[str, Any] = {f.name: do(getattr(self, f.name)) for f in fields(self) if f.type == "Tensor"}
        return replace(self, **tensors)


def draw(count: int, how: Augmentation, generator: torch.Generator) -> Changes:
    """Draw the changes of `count` faces."""
    drawn = torch.rand(14, count, generator=generator)  # in one call: each costs more than its numbers

    def column(*values: float) -> Tensor:
        return torch.tensor(values).unsqueeze(1)

    limits = column(math.radians(how.rotation), how.scale, 2 * how.shift, 2 * how.shift, how.contrast, how.brightness)
    angle, zoom, right, down, gain, offset = ((drawn[:6] * 2 - 1) * limits).unbind()
    mirror, upside = (1 - 2 * (drawn[6:8] < column(how.flip, how.vertical_flip)).float()).unbind()
    hole = drawn[8] * how.cutout_size * (drawn[9] < how.cutout)
    place_x, place_y, hole_x, hole_y = drawn[10:].unbind()
    return Changes(bool(how.rotation or how.scale or how.shift), bool(how.contrast or how.brightness),
                   bool(how.cutout and how.cutout_size), mirror, upside, angle, 1 + zoom, right, down, place_x, place_y,
                   1 + gain, offset, hole, hole_x, hole_y)


def change(faces: Tensor, size: int, by: Changes, crop: int | None = None) -> Tensor:
    """Change a batch of faces (N, C, H, W) uint8; returns (N, C, size, size) float32 of 0–255.

    crop: side of a square drawn from the face, in its pixels, which then fills the result; without rotation, scale and
    shift it is made of the face's own pixels. What the grid takes from outside the face repeats its border.
    """
    n, _, height, width = faces.shape
    high, wide = (height, width) if crop is None else (crop, crop)
    # whole pixels from the top and the left
    top, left = (by.place_y * (height - high + 1)).long(), (by.place_x * (width - wide + 1)).long()
    if by.moves or (high, wide) != (size, size):
        faces = _resample(faces, size, by, (top, left, high, wide))
    else:
        faces = (_pick_on_cpu if faces.device.type == "cpu" else _pick)(faces, by, top, left, size).float()
    if by.lights:
        mean = faces.mean(dim=(1, 2, 3), keepdim=True)
        faces = ((faces - mean) * by.gain.view(n, 1, 1, 1) + (mean + by.offset.view(n, 1, 1, 1))).clamp_(0, 255)
    return _cut_out(faces, by) if by.cuts else faces


def _pick(faces: Tensor, by: Changes, top: Tensor, left: Tensor, size: int) -> Tensor:
    """Crop and mirror alone: no pixel is computed, only picked, out of a view of every window of every face."""
    windows = faces.unfold(2, size, 1).unfold(3, size, 1)
    picked = windows[torch.arange(len(faces), device=faces.device), :, top, left]
    picked = picked.where(by.mirror.view(-1, 1, 1, 1) > 0, picked.flip(3))
    return picked.where(by.upside.view(-1, 1, 1, 1) > 0, picked.flip(2))


def _pick_on_cpu(faces: Tensor, by: Changes, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The same by numpy, which copies whole rows where torch looks up each pixel: four times as fast."""
    windows = faces.unfold(2, size, 1).unfold(3, size, 1).numpy()
    picked = windows[np.arange(len(faces)), :, top.numpy(), left.numpy()]
    mirrored, upside = by.mirror.numpy() < 0, by.upside.numpy() < 0
    if mirrored.any():
        rows = picked[mirrored]
        picked[mirrored] = cv2.flip(rows.reshape(-1, size), 1).reshape(rows.shape)
    picked[upside] = picked[upside][..., ::-1, :]
    return torch.from_numpy(picked)


def _resample(faces: Tensor, size: int, by: Changes, crop: tuple[Tensor, Tensor, int, int]) -> Tensor:
    """Sample each face once, bilinearly, wherever its changes and its crop (top, left, high, wide) put the result."""
    n, _, height, width = faces.shape
    top, left, high, wide = crop
    # in the grid's coordinates a face reaches from -1 to 1, pixels being its areas: align_corners=False
    place = (torch.arange(size, device=faces.device) * 2 + 1) / size - 1

    def column(values: Tensor) -> Tensor:
        return values.view(n, 1, 1)

    cos, sin = by.angle.cos() * by.zoom, by.angle.sin() * by.zoom
    x, y = place.view(1, 1, size), place.view(1, size, 1)
    middle_x, middle_y = (2 * left + wide) / width - 1, (2 * top + high) / height - 1
    grid = torch.empty(n, size, size, 2, device=faces.device)
    torch.add(column(cos * by.mirror * (wide / width)) * x,
              column(by.right + middle_x) - column(sin * by.upside * (wide / width)) * y, out=grid[..., 0])
    torch.add(column(sin * by.mirror * (high / height)) * x,
              column(by.down + middle_y) + column(cos * by.upside * (high / height)) * y, out=grid[..., 1])
    return F.grid_sample(faces.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def augment(faces: Tensor, size: int, how: Augmentation, generator: torch.Generator, crop: int | None = None) -> Tensor:
    """Draw and change in one: (N, C, H, W) uint8 → (N, C, size, size) float32 of 0–255."""
    return change(faces, size, draw(len(faces), how, generator).to(faces.device), crop)


def _cut_out(faces: Tensor, by: Changes) -> Tensor:
    """Fill one square of some faces with the face's mean."""
    size = faces.shape[-1]
    pixel = (torch.arange(size, device=faces.device) + 0.5) / size
    inside_x = (pixel - by.hole_x[:, None]).abs() < by.hole[:, None] / 2
    inside_y = (pixel - by.hole_y[:, None]).abs() < by.hole[:, None] / 2
    hole = (inside_y[:, :, None] & inside_x[:, None, :]).unsqueeze(1)
    return faces.where(~hole, faces.mean(dim=(2, 3), keepdim=True))
