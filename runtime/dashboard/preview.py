"""A frame → a small picture for the page, on which nobody is to be recognized unless that was asked for.

Blurs all of it and turns found faces into a few blocks: a face that the detector missed is blurred with the rest. Knows
nothing of who may see it. What is left to see is what an installer asks: does the camera see the right place?
"""

from __future__ import annotations

import cv2
import numpy as np

from runtime.dashboard.channel import PREVIEW_BYTES

WIDTH = 320  # px
BLUR = WIDTH / 32  # standard deviation, px: an unfound face 80 px wide keeps some 4 × 4 distinguishable points
BLOCKS = 4  # a found face's side
MARGIN = 0.25  # of a box's side, on each side: hair and chin
QUALITY = 70


def render_preview(image: np.ndarray, boxes: np.ndarray, show_faces: bool = False) -> bytes:
    """Return a JPEG of at most WIDTH pixels' side. image (h, w, 3) BGR uint8; boxes (n, 4) x, y, w, h in its pixels.

    Raises ValueError where it came out larger than the channel takes.
    """
    rows, columns = image.shape[:2]
    scale = min(1.0, WIDTH / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if not show_faces:
        small = _blurred(small)
        for box in boxes:
            _pixelate(small, np.asarray(box, float) * scale)
    done, content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done or len(content) > PREVIEW_BYTES:
        raise ValueError(f"expected a preview of at most {PREVIEW_BYTES} bytes, found {len(content)}")
    return content.tobytes()


def _blurred(image: np.ndarray) -> np.ndarray:
    """Blur at a quarter of the size, which costs a sixteenth and looks the same."""
    size = (image.shape[1], image.shape[0])
    quarter = cv2.resize(image, (max(1, size[0] // 4), max(1, size[1] // 4)), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(quarter, (0, 0), BLUR / 4), size, interpolation=cv2.INTER_LINEAR)


def _pixelate(image: np.ndarray, box: np.ndarray) -> None:
    x, y, width, height = box
    left, right = max(0, int(x - MARGIN * width)), min(image.shape[1], int(x + (1 + MARGIN) * width) + 1)
    top, bottom = max(0, int(y - MARGIN * height)), min(image.shape[0], int(y + (1 + MARGIN) * height) + 1)
    if right <= left or bottom <= top:
        return
    face = image[top:bottom, left:right]
    few = cv2.resize(face, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    face[:] = cv2.resize(few, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
