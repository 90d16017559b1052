"""Tracks: who is who from box to box, without knowing who anybody is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.faces.detector import Faces
from runtime.tracks.tracks import TrackRules, Tracks, overlaps, pair_boxes

SIZE = (640, 480)
coordinates = st.tuples(st.floats(0, 560), st.floats(0, 400), st.floats(20, 80), st.floats(20, 80))
frames_of_boxes = st.lists(st.lists(coordinates, max_size=12), min_size=1, max_size=12)


def faces(*boxes: tuple[float, ...]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), None, np.linspace(1, 0.5, len(boxes), dtype=np.float32))


def numbers(
    tracks: Tracks, *boxes: tuple[float, ...], seconds: float, followed: bool = False
) -> tuple[int, ...]:
    """Detect these boxes and return the numbers shown, largest face first; `followed`: the old ones stayed in place."""
    if not followed:
        tracks.hide()
    tracks.detect(faces(*boxes), seconds)
    return tracks.shown(SIZE).numbers


def test_a_face_that_moves_a_little_keeps_its_number() -> None:
    tracks = Tracks()
    assert numbers(tracks, (100, 100, 80, 80), (300, 100, 60, 60), seconds=0) == (1, 2)
    assert numbers(tracks, (310, 104, 60, 60), (110, 96, 82, 82), seconds=0.1) == (1, 2)


def test_a_face_that_jumps_beside_itself_keeps_its_number_and_one_across_the_frame_does_not() -> None:
    tracks = Tracks()
    numbers(tracks, (100, 100, 80, 80), seconds=0)
    assert numbers(tracks, (136, 130, 80, 80), seconds=0.1) == (1,)  # which overlap by 0.18 of their union
    assert numbers(tracks, (400, 300, 80, 80), seconds=0.3) == (2,)


def test_a_near_box_of_another_size_is_another_face() -> None:
    tracks = Tracks()
    numbers(tracks, (100, 100, 160, 160), seconds=0)
    assert numbers(tracks, (150, 150, 40, 40), seconds=0.1) == (2,)


def test_the_best_overlap_wins_whoever_asks_first() -> None:
    old = np.array([[0, 0, 100, 100], [40, 0, 100, 100]], float)
    assert pair_boxes(old, np.array([[38, 0, 100, 100], [2, 0, 100, 100]], float)) == {0: 1, 1: 0}


def test_a_face_is_born_after_its_detections_in_a_row() -> None:
    tracks = Tracks(TrackRules(births=3))
    shown = [numbers(tracks, (100, 100, 80, 80), seconds=s / 10) for s in range(4)]
    assert shown == [(), (), (1,), (1,)]


def test_a_flicker_is_never_born() -> None:
    tracks = Tracks(TrackRules(births=2))
    for turn in range(10):
        assert numbers(tracks, *[(100, 100, 80, 80)][: turn % 2], seconds=turn / 10) == ()
    assert tracks.given == 0


def test_a_track_ends_after_its_time_without_a_detection() -> None:
    tracks = Tracks(TrackRules(expire=1.0))
    numbers(tracks, (100, 100, 80, 80), seconds=0)
    tracks.expire(1.0)
    assert tracks.living == {1}
    tracks.expire(1.001)
    assert tracks.living == frozenset()
    assert numbers(tracks, (100, 100, 80, 80), seconds=1.1) == (2,)


def test_a_missed_face_that_is_followed_is_shown_for_so_many_misses() -> None:
    tracks = Tracks(TrackRules(misses=2, expire=9))
    numbers(tracks, (100, 100, 80, 80), seconds=0)
    assert [numbers(tracks, seconds=s, followed=True) for s in (1, 2, 3)] == [(1,), (1,), ()]
    assert numbers(tracks, (100, 100, 80, 80), seconds=4) == (1,)


def test_a_missed_face_under_anothers_detection_is_hidden() -> None:
    tracks = Tracks(TrackRules(misses=5))
    numbers(tracks, (100, 100, 80, 80), (220, 100, 80, 80), seconds=0)
    tracks.move(np.array([[190, 100, 80, 80], [220, 100, 80, 80]], float), np.ones(2, bool), SIZE)
    assert numbers(tracks, (221, 100, 80, 80), seconds=0.1, followed=True) == (2,)


def test_a_face_that_left_the_frame_is_hidden_but_not_lost() -> None:
    tracks = Tracks()
    numbers(tracks, (0, 100, 80, 80), seconds=0)
    assert not tracks.move(np.array([[-60.0, 100, 80, 80]]), np.array([True]), SIZE)
    assert tracks.shown(SIZE).numbers == () and tracks.living == {1}


def test_landmarks_move_and_grow_with_the_box() -> None:
    tracks = Tracks()
    marks = np.array([[[10, 10], [50, 10], [30, 30], [12, 50], [48, 50]]], np.float32)
    tracks.detect(Faces(np.array([[0, 0, 60, 60]], np.float32), marks, np.ones(1, np.float32)), 0)
    tracks.move(np.array([[100.0, 40, 120, 120]]), np.array([True]), SIZE)
    assert np.allclose(tracks.shown(SIZE).faces.landmarks, marks * 2 + (100, 40))


@pytest.mark.parametrize("wrong", [{"births": 0}, {"most": 0}, {"misses": -1}, {"expire": 0.0},
                                   {"expire": float("nan")}])
def test_rules_that_no_face_can_meet_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        TrackRules(**wrong)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(frames_of_boxes, st.integers(1, 3), st.integers(0, 2))
def test_no_number_comes_back_once_its_track_has_ended(
    frames: list[list[tuple[float, ...]]], births: int, misses: int
) -> None:
    tracks, ended, before = Tracks(TrackRules(births=births, misses=misses, expire=0.25)), set[int](), frozenset[int]()
    for turn, boxes in enumerate(frames):
        tracks.expire(turn / 10)
        tracks.detect(faces(*boxes), turn / 10)
        if turn % 5 == 4:
            tracks.clear()
        assert not tracks.living & ended
        ended |= before - tracks.living
        before = tracks.living
        shown = tracks.shown(SIZE).numbers
        assert len(set(shown)) == len(shown) and max(shown, default=0) <= tracks.given


@settings(max_examples=60, deadline=None)
@given(frames_of_boxes, st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_detectors_order_changes_no_number(frames: list[list[tuple[float, ...]]], random, most: int) -> None:
    one, other = Tracks(TrackRules(most=most)), Tracks(TrackRules(most=most))
    for turn, boxes in enumerate(frames):
        found = faces(*boxes)
        order = list(range(len(boxes)))
        random.shuffle(order)
        one.detect(found, turn / 10)
        other.detect(Faces(found.boxes[order], None, found.scores[order]), turn / 10)
        a, b = one.shown(SIZE), other.shown(SIZE)
        assert a.numbers == b.numbers
        assert (a.faces.boxes == b.faces.boxes).all() and (a.faces.scores == b.faces.scores).all()


@settings(max_examples=60, deadline=None)
@given(frames_of_boxes, st.integers(1, 6), st.floats(-300, 300), st.floats(0.5, 2))
def test_shown_boxes_lie_in_the_frame_and_are_never_more_than_asked(
    frames: list[list[tuple[float, ...]]], most: int, shift: float, grown: float
) -> None:
    tracks = Tracks(TrackRules(most=most, expire=100))
    for turn, boxes in enumerate(frames):
        tracks.detect(faces(*boxes), turn)
        moved = tracks.boxes() * (1, 1, grown, grown) + (shift, shift, 0, 0)
        tracks.move(moved, np.ones(len(moved), bool), SIZE)
        shown = tracks.shown(SIZE).faces.boxes
        assert len(shown) <= most and len(tracks._tracks) <= 2 * most
        assert (shown[:, :2] >= 0).all() and (shown[:, :2] + shown[:, 2:] <= np.array(SIZE) + 1e-3).all()


@given(coordinates)
def test_a_box_overlaps_itself_wholly_and_one_beside_it_not_at_all(box: tuple[float, ...]) -> None:
    x, y, width, height = box
    found = overlaps(np.array([box]), np.array([box, (x + width, y, width, height)]))
    assert found[0] == pytest.approx([1, 0], abs=1e-9)
