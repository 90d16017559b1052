"""Face crop → uint8 tensor: the only such code. Training, calibration, the gate and the stream all call it.

Knows nothing of detectors or networks: a box comes in, and a card's `FaceInput` says how the face is cut and sized.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from runtime.align import align_square
from runtime.errors import BadInput
from runtime.face_input import FaceInput as FaceInput


def prepare_face(face: np.ndarray, how: FaceInput) -> np.ndarray:
    """Turn one face image, (H, W) grey or (H, W, 3) BGR uint8, into the network's (C, height, width) uint8."""
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or 0 in face.shape or (face.ndim == 3 and face.shape[2] != 3):
        raise BadInput(f"expected a face of (H, W) or (H, W, 3) uint8, found {face.shape} {face.dtype}")
    if how.colour == "grey":
        if face.ndim == 3:
            face = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    else:
        face = cv2.cvtColor(face, cv2.COLOR_GRAY2RGB if face.ndim == 2 else cv2.COLOR_BGR2RGB)
    height, width = (how.height, how.width) if how.resize is None else (how.resize, how.resize)
    if face.shape[:2] != (height, width):
        # averaging when it shrinks (no aliasing), bilinear when it grows
        shrinks = face.shape[0] > height or face.shape[1] > width
        face = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if how.equalize:
        face = cv2.equalizeHist(face)
    if (height, width) != (how.height, how.width):
        top, left = (height - how.height) // 2, (width - how.width) // 2
        face = np.ascontiguousarray(face[top : top + how.height, left : left + how.width])
    return face[None] if face.ndim == 2 else np.ascontiguousarray(face.transpose(2, 0, 1))


def prepare_faces(faces: np.ndarray, how: FaceInput) -> np.ndarray:
    """Prepare whole face images, (N, H, W) grey or (N, H, W, 3) BGR uint8, as (N, C, height, width) uint8."""
    as_they_are = how.colour == "grey" and not how.equalize and how.resize in (None, how.height)
    if as_they_are and faces.shape[1:] == (how.height, how.width):
        return faces[:, None]  # as they are, without a copy
    return np.stack([prepare_face(face, how) for face in faces])


def crop_square(frame: np.ndarray, box: Sequence[float] | np.ndarray, margin: float) -> np.ndarray:
    """Cut the square around a box (x, y, width, height in pixels); what lies outside repeats the frame's border.

    Raises BadInput where box and frame do not meet.
    """
    x, y, width, height = (float(v) for v in box)
    side = max(width, height) * (1 + margin)
    rows, columns = frame.shape[:2]
    apart = x >= columns or y >= rows or x + width <= 0 or y + height <= 0
    if not np.isfinite([x, y, width, height]).all() or side < 1 or apart:
        raise BadInput(f"expected a box that meets the {columns}×{rows} frame, found {tuple(box)}")
    side = min(side, 2.0 * max(rows, columns))  # bounds the work whatever the box says
    whole = max(1, round(side))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    inside = frame[max(0, top) : max(0, top + whole), max(0, left) : max(0, left + whole)]
    if not inside.size:  # a square about a far-off centre; OpenCV 4.14 dies of repeating the border of nothing
        raise BadInput(f"expected a box whose square meets the {columns}×{rows} frame, found {tuple(box)}")
    before = (max(0, -top), max(0, -left))
    after = (max(0, top + whole - rows), max(0, left + whole - columns))
    if any(before) or any(after):
        inside = cv2.copyMakeBorder(inside, before[0], after[0], before[1], after[1], cv2.BORDER_REPLICATE)
    return inside


def _cut(frame: np.ndarray, box: np.ndarray, landmarks: np.ndarray | None, how: FaceInput) -> np.ndarray:
    if landmarks is not None and how.template is not None:
        aligned = align_square(frame, landmarks, np.array(how.template), float(max(box[2], box[3])))
        if aligned is not None:
            return aligned
    return crop_square(frame, box, how.margin)


def crop_faces(frame: np.ndarray, boxes: np.ndarray, how: FaceInput, landmarks: np.ndarray | None = None) -> np.ndarray:
    """Cut and prepare every face of a frame, (H, W) grey or (H, W, 3) BGR; boxes (N, 4) → (N, C, height, width).

    landmarks (N, 5, 2) align a face where the card has a template; without them, or where they make no sense, the box
    is cut with the card's margin.
    """
    points = [None] * len(boxes) if landmarks is None or how.template is None else list(landmarks)
    faces = [prepare_face(_cut(frame, box, five, how), how) for box, five in zip(boxes, points)]
    if not faces:
        return np.zeros((0, how.channels, how.height, how.width), dtype=np.uint8)
    return np.stack(faces)
