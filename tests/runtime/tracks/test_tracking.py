"""When the detector must look, and that faces are in the right place in between."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from runtime.camera.source import Frame
from runtime.faces.detector import Faces
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules

FACE = (155.0, 98.0, 230.0, 233.0)  # of the photograph, 512×600
STEP = 4  # px a frame


def pan(photo: np.ndarray, frames: int, fps: float = 25.0) -> Iterator[tuple[Frame, Faces]]:
    """Show the photograph through a window that moves right, and what a perfect detector would say."""
    for index in range(frames):
        box = np.array([FACE], np.float32) - np.array([[index * STEP, 0, 0, 0]], np.float32)
        image = np.ascontiguousarray(photo[:, index * STEP : index * STEP + 400])
        yield Frame(image, index, index / fps), Faces(box, None, np.ones(1, np.float32))


def looked(tracker: FaceTracker, shown: Iterator[tuple[Frame, Faces]], sees: bool = True) -> list[bool]:
    """Run a tracker and return in which frames it asked for a detection."""
    asked = []
    for frame, faces in shown:
        asked.append(tracker.follow(frame))
        if asked[-1]:
            tracker.detect(frame, faces if sees else Faces.none())
    return asked


def test_without_a_cadence_every_frame_is_detected(face_photo: np.ndarray) -> None:
    assert all(looked(FaceTracker(), pan(face_photo, 5)))


def test_a_face_is_detected_every_so_many_frames_and_followed_in_between(face_photo: np.ndarray) -> None:
    tracker, places = FaceTracker(every=5), []
    for frame, faces in pan(face_photo, 11):
        if tracker.follow(frame):
            tracker.detect(frame, faces)
            places.append(frame.index)
        shown = tracker.faces()
        assert shown.numbers == (1,)
        assert shown.faces.boxes[0] == pytest.approx(faces.boxes[0], abs=4)
    assert places == [0, 5, 10]


def test_an_empty_room_is_looked_at_every_so_many_frames(face_photo: np.ndarray) -> None:
    asked = looked(FaceTracker(every=5), pan(face_photo, 11), sees=False)
    assert [i for i, a in enumerate(asked) if a] == [0, 5, 10]


def test_a_newcomer_is_confirmed_by_the_next_frames(face_photo: np.ndarray) -> None:
    tracker = FaceTracker(TrackRules(births=3), every=10)
    assert [i for i, a in enumerate(looked(tracker, pan(face_photo, 14))) if a] == [0, 1, 2, 12]


def test_another_cadence_ends_the_tracks_and_goes_on_with_their_numbers(face_photo: np.ndarray) -> None:
    tracker, frames = FaceTracker(), list(pan(face_photo, 12))
    assert all(looked(tracker, iter(frames[:4]))) and tracker.living == {1}
    tracker.use(TrackRules(), 1)  # the same: nothing ends
    assert tracker.living == {1}
    tracker.use(TrackRules(), 5)
    assert looked(tracker, iter(frames[4:])) == [True, *[False] * 4, True, False, False]
    assert tracker.living == {2} and tracker.given == 2


def test_a_lost_face_is_looked_for_at_once(face_photo: np.ndarray) -> None:
    tracker, frames = FaceTracker(every=10), list(pan(face_photo, 3))
    looked(tracker, iter(frames))
    covered = frames[2][0].image.copy()
    covered[80:350, 120:400] = np.random.default_rng(0).integers(0, 255, (270, 280, 3), dtype=np.uint8)
    assert tracker.follow(Frame(covered, 3, 3 / 25))
    tracker.detect(Frame(covered, 3, 3 / 25), Faces.none())
    assert tracker.faces().numbers == () and tracker.living == {1}


def test_a_missed_face_brings_the_next_detection_forward(face_photo: np.ndarray) -> None:
    tracker, asked = FaceTracker(TrackRules(misses=9, expire=9), every=8), []
    for frame, faces in pan(face_photo, 14):
        if tracker.follow(frame):
            tracker.detect(frame, faces if frame.index == 0 else Faces.none())
            asked.append(frame.index)
    assert asked == [0, 8, 12]


def test_a_cut_ends_every_track_and_is_looked_at_at_once(face_photo: np.ndarray) -> None:
    tracker = FaceTracker(every=10)
    looked(tracker, pan(face_photo, 3))
    frame = Frame(np.ascontiguousarray(face_photo[::-1, :400]), 3, 3 / 25)
    assert tracker.follow(frame) and tracker.living == frozenset()
    tracker.detect(frame, Faces(np.array([FACE], np.float32), None, np.ones(1, np.float32)))
    assert tracker.faces().numbers == (2,)


@pytest.mark.parametrize("seconds", [-5.0, 0.01, 100.0])
def test_time_that_jumps_ends_every_track_cleanly(face_photo: np.ndarray, seconds: float) -> None:
    tracker, frames = FaceTracker(every=5), list(pan(face_photo, 4))
    looked(tracker, iter(frames[:3]))
    frame = Frame(frames[3][0].image, 3, seconds)
    assert tracker.follow(frame) and tracker.living == frozenset()
    tracker.detect(frame, frames[3][1])
    assert tracker.faces().numbers == (2,)


def test_a_slow_camera_is_detected_before_its_tracks_expire(face_photo: np.ndarray) -> None:
    tracker = FaceTracker(TrackRules(expire=1.0), every=10)
    asked = looked(tracker, pan(face_photo, 9, fps=4))
    assert [i for i, a in enumerate(asked) if a] == [0, 2, 4, 6, 8]
    assert tracker.given == 1


def test_a_cadence_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="every 0"):
        FaceTracker(every=0)
