"""Several views of one face at test time, their probabilities averaged: single, mirrored, ten crops. Knows no network.

Ten crops are the four corners and the centre, each also mirrored (Krizhevsky et al. 2012, section 4.1), as papers B and
C test: 44 of 48, 90 of 100.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import cv2
import numpy as np

from runtime.agreement import softmax
from runtime.errors import BadInput

Views = Literal["single", "mirror", "ten-crop"]
Logits = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) uint8 → (N, classes) float32

# A face's side to its crop's, where a network sees whole faces: paper C's 48 to 44
ROOM = 48 / 44
_TINY = 1e-300  # a probability that underflowed


def centre_of(faces: np.ndarray, side: int) -> np.ndarray:
    """Return the centre of (N, C, H, W) uint8 faces, (N, C, side, side); whole faces as they are. Raises BadInput."""
    return faces if faces.shape[2:] == (side, side) else views_of(faces, "single", side)[0]


def with_room(faces: np.ndarray, side: int) -> np.ndarray:
    """Return square (N, C, H, H) uint8 faces from which ten crops of `side` differ.

    Faces larger than the crop are that already; whole faces are enlarged by a twelfth of their side (`ROOM`).
    """
    if faces.shape[-1] > side:
        return faces
    large = round(side * ROOM)
    planes = faces.reshape(-1, *faces.shape[2:])
    enlarged = [cv2.resize(plane, (large, large), interpolation=cv2.INTER_LINEAR) for plane in planes]
    return np.stack(enlarged).reshape(*faces.shape[:2], large, large)


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
    return np.asarray(np.mean([softmax(logits(view)) for view in seen], axis=0))


def mean_log_probabilities(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Average what several views, or several networks, say: (N, classes) logits each → log of the mean probabilities.

    (N, classes) float64, finite: fit for everything that takes logits.
    """
    return np.asarray(np.log(np.maximum(np.mean([softmax(one) for one in logits], axis=0), _TINY)))
