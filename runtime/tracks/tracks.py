"""Detections → tracks: which box of this frame is the face of which box before. A track is a running number, no more.

Knows nothing of pictures: no appearance and no embedding is kept, so who leaves and comes back is a new number.
Boxes are paired greedily by overlap, then by distance: with a handful of faces an optimal assignment changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtime.faces.detector import Faces, clip_boxes

LEAST_OVERLAP = 0.2  # intersection by union from which two boxes may be one face
NEAR = 0.6  # of a box's side: a face that moves fast between two frames may not overlap itself
SAME_SIZE = 1.6  # ratio of sides up to which a near box may be the same face


@dataclass(frozen=True)
class TrackRules:
    """When a face becomes a track and when it ends; seconds are those of the frames.

    births: detections in a row before a face is shown and gets its number. misses: detections in a row that may miss
    a face which is still followed (Haar loses turned heads). expire: seconds without a detection after which a track
    ends. most: faces shown at once, largest first.
    """

    births: int = 1
    misses: int = 1
    expire: float = 1.0
    most: int = 8

    def __post_init__(self) -> None:
        if min(self.births, self.most) < 1 or self.misses < 0 or not 0 < self.expire < 3600:
            raise ValueError("expected births and most of 1 or more, misses of 0 or more and an expire of 0–3600 s, "
                             f"found {self}")


ANY_FACE = TrackRules()


@dataclass(frozen=True)
class TrackedFaces:
    """The faces shown in one frame, largest first, and their tracks' numbers from 1."""

    faces: Faces
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class _Track:
    """One face over time; number 0: not born yet. `landmarks` are in shares of the box, so that they move with it."""

    number: int
    box: np.ndarray  # (4,) float64 px, not clipped
    score: float
    landmarks: np.ndarray | None
    seen: float  # seconds of the last detection
    detections: int = 1  # in a row, up to its birth
    misses: int = 0
    shown: bool = True  # detected or followed in this frame; a hidden one waits for a detection until it expires


class Tracks:
    """All tracks that have not ended: at most twice as many as are shown."""

    def __init__(self, rules: TrackRules = ANY_FACE, given: int = 0):
        """Start without tracks; `given` were numbered before."""
        self._rules = rules
        self._tracks: list[_Track] = []
        self.given = given  # the last number; none is given twice

    @property
    def living(self) -> frozenset[int]:
        """The numbers of all tracks that have not ended, hidden ones included."""
        return frozenset(t.number for t in self._tracks if t.number)

    @property
    def unborn(self) -> bool:
        """Whether a face waits for the detections that make it a track."""
        return any(not t.number for t in self._tracks)

    @property
    def doubted(self) -> bool:
        """Whether a face is shown that the last detection missed."""
        return any(t.shown and t.misses for t in self._tracks)

    def boxes(self) -> np.ndarray:
        """Return the boxes (N, 4) float64 px of the faces in the frame, not clipped: what is to be followed."""
        return _stack([t.box for t in self._tracks if t.shown])

    def hide(self) -> None:
        """Show no face until the next detection: nothing follows them. Unborn ones wait for it too."""
        self._tracks = [replace(t, shown=False) for t in self._tracks]

    def move(self, boxes: np.ndarray, kept: np.ndarray, frame_size: tuple[int, int]) -> bool:
        """Carry what `boxes()` gave to (N, 4) px in the next frame; a face not kept (N,) is hidden.

        Returns whether one was lost. One whose centre left a frame of (width, height) px is hidden, but not lost.
        """
        shown = [t for t in self._tracks if t.shown]
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        in_frame = np.all((centres > 0) & (centres < np.array(frame_size)), axis=1).tolist()
        moved = [replace(track, box=box if found else track.box, shown=bool(found and inside))
                 for track, box, found, inside in zip(shown, boxes, kept, in_frame)]
        hidden = [t for t in self._tracks if not t.shown]
        self._tracks = [t for t in moved if t.shown or t.number] + hidden
        return not bool(np.all(kept))

    def detect(self, found: Faces, seconds: float) -> None:
        """Take the detector's faces of a frame: tracks go on, begin, are missed. Their order changes nothing."""
        boxes = found.boxes.astype(np.float64)
        # largest first, then by place: which face comes first then is the picture's matter, not the detector's
        order = np.lexsort((found.scores, *boxes.T, -np.prod(boxes[:, 2:], axis=1)))[: self._rules.most]
        boxes = boxes[order]
        pairs = pair_boxes(_stack([t.box for t in self._tracks]), boxes)
        tracks = [self._missed(t, boxes) for i, t in enumerate(self._tracks) if i not in pairs]
        before = {detection: self._tracks[i] for i, detection in pairs.items()}
        for place, (box, source) in enumerate(zip(boxes, order)):
            landmarks = None if found.landmarks is None else (found.landmarks[source] - box[:2]) / box[2:]
            old = before.get(place)
            detections = min(old.detections + 1, self._rules.births) if old else 1
            number = old.number if old else 0
            tracks.append(_Track(number or self._number(detections), box, float(found.scores[source]), landmarks,
                                 seconds, detections))
        kept = [t for t in tracks if t is not None]
        kept.sort(key=lambda t: (not t.shown, -t.seen))
        self._tracks = kept[: 2 * self._rules.most]

    def expire(self, seconds: float) -> None:
        """End every track that no detection has seen for `rules.expire` seconds."""
        self._tracks = [t for t in self._tracks if seconds - t.seen <= self._rules.expire]

    def clear(self) -> None:
        """End every track: another scene, or time went backwards."""
        self._tracks = []

    def shown(self, frame_size: tuple[int, int]) -> TrackedFaces:
        """Return the born faces in a frame of (width, height) px, clipped to it."""
        shown = [t for t in self._tracks if t.shown and t.number]
        clipped, inside = clip_boxes(_stack([t.box for t in shown]), frame_size)
        area = np.prod(clipped[:, 2:], axis=1)
        order = [int(i) for i in np.lexsort(([t.number for t in shown], -area)) if inside[i]][: self._rules.most]
        kept = [shown[i] for i in order]
        marks = [t.landmarks * t.box[2:] + t.box[:2] for t in kept if t.landmarks is not None]
        landmarks = np.stack(marks).astype(np.float32) if marks and len(marks) == len(kept) else None
        scores = np.array([t.score for t in kept], np.float32)
        return TrackedFaces(Faces(clipped[order].astype(np.float32), landmarks, scores), tuple(t.number for t in kept))

    def _number(self, detections: int) -> int:
        if detections < self._rules.births:
            return 0
        self.given += 1
        return self.given

    def _missed(self, track: _Track, detected: np.ndarray) -> _Track | None:
        """Return a track that no detection met: it is hidden where it may no longer be shown, and gone if unborn."""
        if not track.number:
            return None
        misses = track.misses + 1
        # a box on a detection that another track has is that face again, or hidden behind it
        covered = bool((overlaps(track.box[None], detected) >= LEAST_OVERLAP).any())
        return replace(track, misses=misses, shown=track.shown and misses <= self._rules.misses and not covered)


def pair_boxes(tracks: np.ndarray, found: np.ndarray) -> dict[int, int]:
    """Pair boxes (N, 4) with boxes (M, 4), each at most once and the most alike first; returns {n: m}.

    Overlapping pairs come before pairs that are only near; others are no pairs.
    """
    alike = _alikeness(tracks, found)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for flat in np.argsort(-alike, axis=None, kind="stable"):
        track, detection = divmod(int(flat), len(found))
        if not np.isfinite(alike[track, detection]):
            break
        if track not in pairs and detection not in taken:
            pairs[track] = detection
            taken.add(detection)
    return pairs


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection by union, (N, M) in 0–1, of boxes (N, 4) and (M, 4) x, y, width, height."""
    a, b = first[:, None], second[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=2)
    union = np.prod(a[..., 2:], axis=2) + np.prod(b[..., 2:], axis=2) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def _alikeness(tracks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return (N, M): the overlap; below LEAST_OVERLAP minus the distance in sides; -inf where boxes are far apart."""
    overlap = overlaps(tracks, found)
    sides = np.sqrt(np.prod(tracks[:, 2:], axis=1))[:, None], np.sqrt(np.prod(found[:, 2:], axis=1))[None]
    smaller, larger = np.minimum(*sides), np.maximum(*sides)
    apart = (tracks[:, None, :2] + tracks[:, None, 2:] / 2) - (found[None, :, :2] + found[None, :, 2:] / 2)
    distance = np.hypot(apart[..., 0], apart[..., 1]) / np.maximum(larger, 1e-9)
    near = (distance <= NEAR) & (larger <= SAME_SIZE * smaller)
    return np.where(overlap >= LEAST_OVERLAP, overlap, np.where(near, -distance, -np.inf))


def _stack(boxes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(boxes) if boxes else np.zeros((0, 4))
