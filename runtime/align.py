"""Five landmarks → the square that holds a face upright and at one scale: a similarity transform, no shear.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI 13(4), 1991.
Knows nothing of networks: where the landmarks are to lie in the square, a model's card says.
"""

from __future__ import annotations

import cv2
import numpy as np

MOST, LEAST = 2.0, 0.5  # times the box's longer side: a square beyond is of landmarks that are no face's


def similarity(points: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return scale, rotation (2, 2) and shift (2,) that bring `points` (K, 2) nearest to `targets` (K, 2).

    targets ≈ scale · rotation · point + shift, in the least squares; never a mirror image. The scale is 0 where the
    points coincide.
    """
    points, targets = points.astype(np.float64), targets.astype(np.float64)
    middle, aim = points.mean(axis=0), targets.mean(axis=0)
    u, strengths, v = np.linalg.svd((targets - aim).T @ (points - middle))
    upright = np.array([1.0, np.sign(np.linalg.det(u @ v)) or 1.0])
    rotation = (u * upright) @ v
    spread = float(((points - middle) ** 2).sum())
    scale = float((strengths * upright).sum()) / spread if spread else 0.0
    return scale, rotation, aim - scale * rotation @ middle


def align_square(frame: np.ndarray, landmarks: np.ndarray, template: np.ndarray, box_side: float) -> np.ndarray | None:
    """Cut the square in which `landmarks` (5, 2) px lie nearest to `template` (5, 2), shares of its side.

    The square keeps the frame's scale, (side, side) or (side, side, 3) uint8; what lies outside repeats the border.
    None where the landmarks are not finite or make a square that cannot be of a face whose box has this side, px.
    """
    if not np.isfinite(landmarks).all():
        return None
    scale, rotation, shift = similarity(landmarks, template)
    if not scale > 0 or not LEAST * box_side <= 1 / scale <= MOST * box_side:
        return None
    side = max(1, round(1 / scale))
    # OpenCV's pixel centres lie on whole numbers, a square's edge half a pixel before the first
    turn = scale * side * rotation  # all but a rotation: the side is a whole number
    matrix = np.column_stack([turn, shift * side - 0.5 + turn @ (0.5, 0.5)])
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
