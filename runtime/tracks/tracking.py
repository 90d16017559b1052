"""Frames and now and then a detection → the faces of every frame: says when the detector must look, follows in between.

Knows no detector and no expression. A detection is asked for every k-th frame, and sooner where a face was lost, is new
or followed with doubt, so a crowd at worst costs one detection a frame.
"""

from __future__ import annotations

from runtime.camera.source import Frame
from runtime.faces.detector import Faces
from runtime.tracks.following import Follower
from runtime.tracks.scene_cut import SceneCut
from runtime.tracks.tracks import ANY_FACE, TrackedFaces, TrackRules, Tracks

DOUBT = 0.6  # share of a face's points that came back; below it the next detection comes at half its time
LONGEST_WAIT = 0.5  # of `expire`: a slow camera's k frames may be longer than a track lives


class FaceTracker:
    """The tracks, what follows them, and the count of frames since the last detection; a few KB."""

    def __init__(self, rules: TrackRules = ANY_FACE, every: int = 1):
        """Ask for a detection at least every so many frames (1: each, and nothing is followed)."""
        if every < 1:
            raise ValueError(f"expected a detection every 1 or more frames, found every {every}")
        self._rules, self._every = rules, every
        self._tracks, self._follower, self._cut = Tracks(rules), Follower(), SceneCut()
        self._size = (0, 0)
        self._now: float | None = None
        self._detected = 0.0  # when
        self._frames = 0  # since then; 0: this one was
        self._due = True

    def use(self, rules: TrackRules, every: int) -> None:
        """Go on with these; where they are others than before, every track ends, and only their numbers go on."""
        if (rules, every) != (self._rules, self._every):
            self._rules, self._every = rules, every
            self._tracks = Tracks(rules, self.given)
            self._forget()

    @property
    def living(self) -> frozenset[int]:
        """The numbers of all tracks that have not ended, those out of sight included."""
        return self._tracks.living

    @property
    def given(self) -> int:
        """How many tracks there were so far."""
        return self._tracks.given

    def follow(self, frame: Frame) -> bool:
        """Carry the faces over to this frame; returns whether the detector must look at it, and `detect` be called."""
        size = (frame.image.shape[1], frame.image.shape[0])
        backwards = self._now is not None and frame.seconds < self._now
        if self._cut.look(frame.image) or backwards or self._now is None:
            self._forget()
        self._now, self._size = frame.seconds, size
        self._tracks.expire(frame.seconds)
        self._frames += 1
        lost, doubt = self._carry(frame, size)
        sooner = (doubt or self._tracks.doubted) and self._frames >= self._every // 2
        late = frame.seconds - self._detected >= LONGEST_WAIT * self._rules.expire
        self._due = (self._due or lost or sooner or late or self._tracks.unborn or self._frames >= self._every)
        return self._due

    def detect(self, frame: Frame, found: Faces) -> None:
        """Take what the detector found in the frame that `follow` asked it to look at."""
        empty_before = not len(self._tracks.boxes())
        self._tracks.detect(found, frame.seconds)
        self._detected, self._frames, self._due = frame.seconds, 0, False
        if self._every > 1 and empty_before and len(self._tracks.boxes()):
            self._follower.remember(frame.image)

    def faces(self) -> TrackedFaces:
        """Return the faces of the frame given last, inside it, largest first."""
        return self._tracks.shown(self._size)

    def _carry(self, frame: Frame, size: tuple[int, int]) -> tuple[bool, bool]:
        """Follow; returns whether a face was lost, and whether one is followed with doubt."""
        if self._every == 1:
            self._tracks.hide()
            return False, False
        followed = self._follower.follow(frame.image, self._tracks.boxes())
        lost = self._tracks.move(followed.boxes, followed.trust > 0, size)
        return lost, bool(((followed.trust > 0) & (followed.trust < DOUBT)).any())

    def _forget(self) -> None:
        self._tracks.clear()
        self._follower.forget()
        self._due = True
