"""What a face detector is, and what it finds. Knows nothing of any detector, nor of what a face expresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtime.errors import BadInput

MIN_SIDE = 8.0  # px; below it a face holds no expression, and a crop would be all interpolation
MIN_INSIDE = 0.5  # share of a box that must lie in the frame: less is a cheek, not a face


@dataclass(frozen=True)
class Faces:
    """The faces of one frame, largest first.

    boxes (N, 4) float32: x, y of the upper left corner, width, height, in pixels of the frame, inside it.
    landmarks (N, 5, 2) float32 x, y px: the person's right eye, left eye, nose tip, right and left mouth corner;
    None where the detector knows none. scores (N,) float32 in 0–1, comparable only within one detector.
    """

    boxes: np.ndarray
    landmarks: np.ndarray | None
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Faces:
        """Return a frame's worth of no faces."""
        return cls(np.zeros((0, 4), np.float32), None, np.zeros(0, np.float32))


class FaceDetector(Protocol):
    """Finds faces in a frame."""

    name: str

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the largest faces of a frame, (H, W, 3) BGR uint8. Raises BadInput on another kind of array."""

    def close(self) -> None:
        """Free what the detector holds."""


def check_frame(frame: np.ndarray) -> None:
    """Raise BadInput unless the array is (H, W, 3) uint8 and not empty."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise BadInput(f"expected a frame of (H, W, 3) uint8, found {frame.shape} {frame.dtype}; convert it to BGR")


def clip_boxes(boxes: np.ndarray, frame_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Clip (N, 4) boxes to a frame of (width, height) px; returns them, float64, and which (N,) still hold a face.

    One that lies mostly outside, is tiny or is not finite holds none.
    """
    boxes = boxes.astype(np.float64)  # a huge float32 side would round away the frame's edge
    corner, side, limit = boxes[:, :2], boxes[:, 2:], np.array(frame_size, np.float64)
    first = np.minimum(np.maximum(corner, 0), limit)
    left = np.minimum(np.maximum(corner + side, 0), limit) - first
    with np.errstate(invalid="ignore"):  # a NaN box compares false and is dropped
        inside = left[:, 0] * left[:, 1] >= MIN_INSIDE * side[:, 0] * side[:, 1]
        good = (side.min(axis=1, initial=np.inf) >= MIN_SIDE) & inside & np.isfinite(boxes).all(axis=1)
    return np.concatenate([first, left], axis=1), good


def keep_largest(found: Faces, frame_size: tuple[int, int], max_faces: int) -> Faces:
    """Clip boxes to a frame of (width, height) px, drop those mostly outside, tiny or not finite, keep the largest."""
    clipped, good = clip_boxes(found.boxes, frame_size)
    kept = np.flatnonzero(good & np.isfinite(found.scores))
    kept = kept[np.argsort(-np.prod(clipped[kept, 2:], axis=1), kind="stable")][:max_faces]
    landmarks = None if found.landmarks is None else found.landmarks[kept]
    return Faces(clipped[kept].astype(np.float32), landmarks, found.scores[kept])
