"""One photograph → a moving clip: pan, zoom, changes of light, and a stretch in which the face is out of sight.

Knows nothing of networks. The path is fixed, so the same photograph gives the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np


@dataclass(frozen=True)
class View:
    """Where the camera looks: the centre and width of what it sees in the photograph, pixels, and the light."""

    x: float
    y: float
    width: float
    gain: float  # 1: as photographed
    tilt: float  # degrees


# A camera's walk over matplotlib's grace_hopper.jpg (512×600): keyframes at shares of the clip
_WALK: tuple[tuple[float, View], ...] = (
    (0.00, View(256, 250, 512, 1.00, 0)),
    (0.15, View(262, 215, 380, 1.00, 3)),
    (0.30, View(275, 220, 330, 1.45, -4)),
    (0.42, View(250, 230, 420, 0.45, 0)),
    (0.52, View(256, 250, 480, 1.00, 0)),
    (0.60, View(256, 480, 300, 1.00, 0)),  # down to the uniform: no face
    (0.72, View(300, 490, 300, 0.90, 0)),
    (0.82, View(240, 240, 500, 0.80, 5)),
    (1.00, View(270, 205, 300, 1.10, -2)),
)


def render_clip(photograph: np.ndarray, frames: int, size: tuple[int, int] = (640, 480)) -> Iterator[np.ndarray]:
    """Yield `frames` BGR uint8 frames of (height, width, 3); `size` is (width, height) in pixels."""
    for index in range(frames):
        yield render_view(photograph, view_at(index / max(1, frames - 1)), size)


def view_at(share: float) -> View:
    """Return where the camera looks at this share (0–1) of the clip, eased between keyframes."""
    for (start, first), (end, second) in pairwise(_WALK):
        if share <= end:
            t = (share - start) / (end - start)
            t = t * t * (3 - 2 * t)  # smoothstep: no jerk at a keyframe
            parts = zip(vars(first).values(), vars(second).values())
            return View(*(a + (b - a) * t for a, b in parts))
    return _WALK[-1][1]


def view_matrix(view: View, size: tuple[int, int]) -> np.ndarray:
    """Return the affine map (2, 3) from photograph to frame pixels."""
    scale = size[0] / view.width
    matrix = np.asarray(cv2.getRotationMatrix2D((view.x, view.y), view.tilt, scale), dtype=np.float64)
    matrix[:, 2] += np.array(size) / 2 - (view.x, view.y)
    return matrix


def render_view(photograph: np.ndarray, view: View, size: tuple[int, int]) -> np.ndarray:
    """Return one BGR uint8 frame; what lies outside the photograph mirrors it, as a wall would go on."""
    flags = cv2.INTER_AREA if size[0] < view.width else cv2.INTER_LINEAR
    frame = cv2.warpAffine(photograph, view_matrix(view, size), size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(np.clip(np.rint(frame.astype(np.float32) * view.gain), 0, 255), dtype=np.uint8)
