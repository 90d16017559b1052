"""A picture → the size a detector searches: shrunk to fit, its aspect kept, padded right and below with black.

As OpenCV's FaceDetectorYN pads (modules/objdetect/src/face_detect.cpp). Knows nothing of colour or of detectors.
"""

from __future__ import annotations

import cv2
import numpy as np

STEP = 32  # px: the coarsest stride, of which both sides are multiples


def letterbox(picture: np.ndarray, fixed: tuple[int, int] | None, longest: int) -> tuple[np.ndarray, float]:
    """Fit (H, W) or (H, W, 3) uint8 into `fixed` (width, height) px; None shrinks to `longest`, in multiples of 32.

    Returns the padded picture, and its pixels per pixel of the original. Only a fixed size may enlarge.
    """
    height, width = picture.shape[:2]
    scale = min(fixed[0] / width, fixed[1] / height) if fixed else min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = fixed or (-(-size[0] // STEP) * STEP, -(-size[1] // STEP) * STEP)
    if padded == size:
        return picture, scale
    boxed = np.zeros((padded[1], padded[0], *picture.shape[2:]), np.uint8)
    boxed[: size[1], : size[0]] = picture
    return boxed, scale
