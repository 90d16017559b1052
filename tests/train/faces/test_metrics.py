"""The figures: worked by hand on a few boxes, and true of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.faces.detector import Faces
from train.faces.metrics import Truth, average_precision, match, recall_at, score_detections


def found(*rows: tuple[float, float, float]) -> Faces:
    """Faces of 20 px at (x, y) with a score."""
    array = np.array(rows, np.float64).reshape(-1, 3)
    box = np.concatenate([array[:, :2], np.full((len(array), 2), 20.0)], axis=1)
    return Faces(box, np.repeat(box[:, None, :2], 5, axis=1), array[:, 2])


def truth(*rows: tuple[float, float], ignored: tuple[bool, ...] = ()) -> Truth:
    faces = found(*((*row, 1.0) for row in rows))
    return Truth(faces.boxes, faces.landmarks, np.array(ignored or [False] * len(rows), bool))


def test_average_precision_by_hand() -> None:
    # false, hit, hit, false, hit of four faces: precisions 1/2, 2/3 and 3/5; at a recall of 1/4 the best is 2/3 as well
    rows = [(200, 200, 0.9), (0, 0, 0.8), (50, 0, 0.7), (200, 90, 0.6), (100, 0, 0.5)]
    matches = match([found(*rows)], [truth((0, 0), (50, 0), (100, 0), (150, 0))])
    assert matches.hits.tolist() == [False, True, True, False, True]
    assert average_precision(matches) == pytest.approx((2 / 3 + 2 / 3 + 3 / 5) / 4)


def test_recall_at_one_false_a_picture_by_hand() -> None:
    pictures = [found((0, 0, 0.9), (200, 200, 0.8), (50, 0, 0.7)), found((200, 0, 0.6), (200, 90, 0.5), (0, 0, 0.4))]
    matches = match(pictures, [truth((0, 0), (50, 0)), truth((0, 0))])
    recall, threshold = recall_at(matches)  # two false are allowed in two pictures; the third comes before the last hit
    assert recall == pytest.approx(2 / 3) and threshold == pytest.approx(0.6)


def test_a_face_is_found_once() -> None:
    assert match([found((0, 0, 0.9), (1, 0, 0.8))], [truth((0, 0))]).hits.tolist() == [True, False]


def test_a_detection_takes_the_face_it_overlaps_most() -> None:
    matches = match([found((0, 0, 0.9), (5, 0, 0.8))], [truth((6, 0), (1, 0))])
    assert matches.hits.tolist() == [True, True]
    assert matches.landmark_errors == pytest.approx([1 / 20, 1 / 20])


def test_an_ignored_face_is_neither_hit_nor_miss() -> None:
    matches = match([found((0, 0, 0.9), (50, 0, 0.8))], [truth((0, 0), (50, 0), ignored=(True, False))])
    assert matches.hits.tolist() == [True] and matches.faces == 1


def test_other_sizes_are_left_out_on_both_sides() -> None:
    matches = match([found((0, 0, 0.9), (200, 200, 0.8))], [truth((0, 0))], sizes=(24.0, np.inf))
    assert len(matches.hits) == 0 and matches.faces == 0


def test_a_stricter_overlap_finds_less() -> None:
    picture, faces = [found((4, 0, 0.9))], [truth((0, 0))]  # 16 · 20 of 24 · 20: two thirds
    assert match(picture, faces, 0.5).hits.tolist() == [True] and match(picture, faces, 0.75).hits.tolist() == [False]


def test_nothing_found_and_nothing_there_are_no_errors() -> None:
    figures = score_detections([Faces.none()], [truth()])
    assert figures["ap50"] == 0 and figures["recall_at_1_false"] == 0
    assert score_detections([Faces.none()], [truth((0, 0))])["ap50"] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_perfect_detections_score_one_whatever_their_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = [(float(i * 40), float(j * 40)) for i in range(4) for j in range(4)]
    rows = [(*place, float(score)) for place, score in zip(places, random.random(16))]
    figures = score_detections([found(*random.permutation(rows))], [truth(*places)])
    assert figures["ap50"] == figures["ap75"] == figures["recall_at_1_false"] == 1 and figures["landmark_error"] == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_false_face_below_all_others_changes_no_average_precision(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [(float(x), 0.0, float(s)) for x, s in zip(random.integers(0, 9, 6) * 30, random.random(6) * 0.8 + 0.1)]
    faces = truth(*((float(x), 0.0) for x in random.permutation(9)[:4] * 30))
    plain, more = (average_precision(match([found(*r)], [faces])) for r in (rows, [*rows, (900.0, 900.0, 0.01)]))
    assert plain == pytest.approx(more) and 0 <= plain <= 1
