"""Several views of one face at test time, their probabilities averaged: single, mirrored, ten crops. Knows no network.

Ten crops are the four corners and the centre, each also mirrored (Krizhevsky et al. 2012, section 4.1), as papers B and
C test: 44 of 48, 90 of 100.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from runtime.agreement import softmax
from runtime.errors import BadInput

Views = Literal["single", "mirror", "ten-crop"]
Logits = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) uint8 → (N, classes) float32


def views_of(faces: np.ndarray, views: Views, side: int) -> list[np.ndarray]:
    """Return the views of (N, C, H, W) uint8 faces, each (N, C, side, side) and C-contiguous.

    `single` and `mirror` take the centre where `side` is smaller than the face. Raises BadInput.
    """
    height, width = faces.shape[2:]
    if views not in get_args(Views):
        raise BadInput(f"expected views of {', '.join(get_args(Views))}, found {views!r}")
    if not 0 < side <= min(height, width):
        raise BadInput(f"expected a crop of at most {min(height, width)} pixels, found {side}")
    down, right = height - side, width - side
    corners = [(0, 0), (0, right), (down, 0), (down, right)] if views == "ten-crop" else []
    crops = [faces[:, :, y : y + side, x : x + side] for y, x in [*corners, (down // 2, right // 2)]]
    if views != "single":
        crops += [crop[..., ::-1] for crop in crops]
    return [np.ascontiguousarray(crop) for crop in crops]


def mean_probabilities(logits: Logits, faces: np.ndarray, views: Views, side: int) -> np.ndarray:
    """Return the views' mean probabilities, (N, classes) float64."""
    seen = views_of(faces, views, side)
    return np.mean([softmax(logits(view)) for view in seen], axis=0)
