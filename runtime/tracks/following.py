"""Boxes of one frame → the same boxes one frame later, by how a grid of points inside each moved.

Lucas–Kanade there and back; the medians of shift and scale move a box, and the points that did not come back to where
they began say how far to trust it: Kalal, Mikolajczyk and Matas, "Forward-backward error: automatic detection of
tracking failures", ICPR 2010. Knows nothing of what is in a box: where a face was covered, it follows what covers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WORKING_SIDE = 320  # px of the longer side: half of VGA. At 160 boxes drifted more over ten frames
INSET = 0.15  # of a box's side: its rim shows the background
# 16 points a box; 9 where there are more boxes than CROWD, so that cost is bounded
SHARES, SHARES_IN_CROWD = (np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
                           for line in (np.linspace(INSET, 1 - INSET, points) for points in (4, 3)))
CROWD = 16
# px of the working size, halvings, steps a level. On the demo's clip 7 and 11 px followed no better, and 11 took longer
WINDOW, LEVELS, ITERATIONS = 9, 2, 10
REACH = 24  # px of the working size: as far as such windows see a face move, and what is searched around the boxes
CAME_BACK = 0.5  # px of the working size between a point and its way there and back
LEAST_SHARE = 0.4  # of the points; with fewer a box is lost
MOST_SCALE = 1.25  # in one frame; no face comes nearer so fast
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0.03)


@dataclass(frozen=True)
class Followed:
    """Where boxes went: boxes (N, 4) float64 px, not clipped; trust (N,) 0–1, the share of points, 0 where lost."""

    boxes: np.ndarray
    trust: np.ndarray


class Follower:
    """Remembers one small grey picture: that of the frame before."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._before: np.ndarray | None = None

    def remember(self, image: np.ndarray) -> None:
        """Take a frame, (H, W, 3) BGR uint8, as the one that boxes will be followed from."""
        self._before = _small_grey(image)

    def forget(self) -> None:
        """Follow nothing from the frame before: it showed something else."""
        self._before = None

    def follow(self, image: np.ndarray, boxes: np.ndarray) -> Followed:
        """Say where the boxes (N, 4) px of the frame before are in this one, and remember this one.

        Everything is lost where there is no frame before, or one of another size.
        """
        before, lost = self._before, Followed(boxes.astype(np.float64), np.zeros(len(boxes)))
        if not len(boxes):
            self.forget()  # an empty room costs nothing
            return lost
        self._before = now = _small_grey(image)
        if before is None or before.shape != now.shape:
            return lost
        return _follow(before, now, lost.boxes, now.shape[1] / image.shape[1])


def _small_grey(image: np.ndarray) -> np.ndarray:
    scale = min(1.0, WORKING_SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return grey if scale == 1.0 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _follow(before: np.ndarray, now: np.ndarray, boxes: np.ndarray, scale: float) -> Followed:
    start = _grid_points(boxes * scale)
    corner, before, now = _around(start, before, now)
    now = _lit_alike(now, before)
    start -= corner
    end, found = _flow(before, now, start)
    back, returned = _flow(now, before, end)
    inside = ((start >= 0) & (start < (now.shape[1], now.shape[0]))).all(axis=2)
    good = found & returned & inside & (np.abs(back - start).max(axis=2) < CAME_BACK)
    points = np.concatenate([start, end], axis=2)
    middle = _medians(np.concatenate([points, end - start], axis=2), good)
    shift = middle[:, 4:]
    # the spread about the middle: as many distances as points, where the paper takes those of all pairs
    spread = np.abs(points - middle[:, None, :4]).reshape(*good.shape, 2, 2).sum(axis=3)
    spread_before, spread_after = _medians(spread, good).T
    grown = spread_after / np.maximum(spread_before, 1e-6)
    trust = good.mean(axis=1)
    kept = (trust >= LEAST_SHARE) & (grown < MOST_SCALE) & (grown > 1 / MOST_SCALE)
    grown, shift = np.where(kept, grown, 1.0), np.where(kept[:, None], shift, 0.0) / scale
    sides = boxes[:, 2:] * grown[:, None]
    centres = boxes[:, :2] + boxes[:, 2:] / 2 + shift
    return Followed(np.concatenate([centres - sides / 2, sides], axis=1), np.where(kept, trust, 0.0))


def _around(points: np.ndarray, *pictures: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the corner x, y px of what lies within reach of points (N, P, 2), and that part of each picture."""
    height, width = pictures[0].shape
    first = np.clip(points.min(axis=(0, 1)) - REACH, 0, (width - 1, height - 1)).astype(int)
    last = np.clip(points.max(axis=(0, 1)) + REACH, first + 1, (width, height)).astype(int)
    return first, *(picture[first[1] : last[1], first[0] : last[0]] for picture in pictures)


def _lit_alike(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return a picture with the other's mean and contrast: Lucas–Kanade takes a change of exposure for motion."""
    (mean, spread), (wanted, contrast) = ([float(v[0, 0]) for v in cv2.meanStdDev(p)] for p in (picture, other))
    gain = contrast / max(spread, 1.0)
    return cv2.addWeighted(picture, gain, picture, 0, wanted - gain * mean)


def _grid_points(boxes: np.ndarray) -> np.ndarray:
    """Return (N, points, 2) float32 x, y inside boxes (N, 4)."""
    shares = SHARES if len(boxes) <= CROWD else SHARES_IN_CROWD
    return (boxes[:, None, :2] + boxes[:, None, 2:] * shares).astype(np.float32)


def _flow(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where points (N, P, 2) of one picture are in another, and which (N, P) were found."""
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points.reshape(-1, 1, 2), np.zeros(0, np.float32), winSize=(WINDOW, WINDOW), maxLevel=LEVELS,
        criteria=CRITERIA)
    return moved.reshape(points.shape), status.reshape(points.shape[:2]) > 0


def _medians(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return the lower medians (N, K) of values (N, P, K) where good (N, P) holds; 0 where none does."""
    ordered = np.sort(np.where(good[:, :, None], values, np.inf), axis=1)
    middle = np.maximum(good.sum(axis=1) - 1, 0) // 2
    medians = ordered[np.arange(len(values)), middle]
    return np.where(np.isfinite(medians), medians, 0.0)
