"""Soft masks along which a picture is cut out, so that no edge of a pasted rectangle says where a face is.

A mask spans the picture it cuts, whatever its size. Some are hard rectangles on purpose: a photograph on a wall has
edges, and so has an empty frame. Knows nothing of scenes.
"""

from __future__ import annotations

import numpy as np

SIDE = 64  # px of a mask; it is stretched over the picture
COUNT = 192
RECTANGLES = 0.12  # share of hard rectangles
BORDER = 0.06  # share of the side over which the others fade at the picture's own border


def make_masks(random: np.random.Generator, count: int = COUNT) -> np.ndarray:
    """Draw masks, (count, SIDE, SIDE) float32 0–1: superellipses |x/a|ᵖ + |y/b|ᵖ ≤ 1 with soft edges, and rectangles.

    A head shot's face is an ellipse of 0.8 by 0.97 of its picture (the teacher's boxes, mean of 400), so the radii run
    from a little less than a face to the whole picture.
    """
    place = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    border = np.clip((0.5 - np.abs(place)) / BORDER, 0, 1)
    fading = np.minimum.outer(border, border)
    masks = np.empty((count, SIDE, SIDE), np.float32)
    for mask in masks:
        if random.random() < RECTANGLES:
            mask[:] = 1
            continue
        middle = random.normal(0, 0.02, 2)
        across, down = random.uniform(0.36, 0.52), random.uniform(0.44, 0.58)
        power = random.uniform(2, 6)
        far = (np.abs((place - middle[0]) / across)[None] ** power
               + np.abs((place - middle[1]) / down)[:, None] ** power) ** (1 / power)
        softness = random.uniform(0.03, 0.25)
        mask[:] = np.clip((1 - far) / softness + 0.5, 0, 1) * fading
    return masks
