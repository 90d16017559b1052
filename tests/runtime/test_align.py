"""Alignment: the similarity that five points ask for, exactly where one exists; no crop where they make no sense."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.align import align_square, similarity
from runtime.face_input import FaceInput
from runtime.preprocess import crop_faces

TEMPLATE = np.array([(0.32, 0.37), (0.68, 0.37), (0.5, 0.58), (0.35, 0.74), (0.65, 0.74)])
ALIGNED = FaceInput(48, 48, template=tuple((float(x), float(y)) for x, y in TEMPLATE))


def placed(side: float, left: float, top: float, degrees: float) -> np.ndarray:
    """The template in a frame: a square of this side, turned about its corner."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return TEMPLATE * side @ rotation.T + (left, top)


@settings(max_examples=100, deadline=None)
@given(st.floats(5, 500), st.floats(-300, 300), st.floats(-300, 300), st.floats(-179, 179))
def test_a_similarity_is_found_again(side: float, left: float, top: float, degrees: float) -> None:
    points = placed(side, left, top, degrees)
    scale, rotation, shift = similarity(points, TEMPLATE)
    assert scale == pytest.approx(1 / side)
    assert np.allclose(scale * points @ rotation.T + shift, TEMPLATE, atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = TEMPLATE * (-1, 1)
    assert np.linalg.det(similarity(mirrored, TEMPLATE)[1]) == pytest.approx(1)


@pytest.mark.parametrize("degrees", [0, 25, -40])
@pytest.mark.parametrize("side", [40, 97.3])
def test_landmarks_lie_on_the_template_in_the_square(degrees: float, side: float) -> None:
    frame = np.zeros((240, 320), np.uint8)
    points = placed(side, 150, 90, degrees)
    for x, y in points:
        frame = np.maximum(frame, dot(frame.shape, x, y))
    square = align_square(frame, points, TEMPLATE, side)
    assert square is not None and square.shape == (round(side), round(side))
    for x, y in TEMPLATE * len(square):
        near = square[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].astype(float)
        rows, columns = np.mgrid[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] + 0.5
        found = np.array([(columns * near).sum(), (rows * near).sum()]) / near.sum()
        assert np.abs(found - (x, y)).max() < 0.35  # pixels


def dot(shape: tuple[int, ...], x: float, y: float) -> np.ndarray:
    """A soft dot, its centre at x, y px from the frame's corner."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return (255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2)).astype(np.uint8)


def test_an_upright_face_of_whole_pixels_is_the_frame_itself(face_photo: np.ndarray) -> None:
    square = align_square(face_photo, placed(200, 150, 100, 0), TEMPLATE, 200)
    assert square is not None
    assert np.abs(square.astype(int) - face_photo[100:300, 150:350]).max() <= 1


@pytest.mark.parametrize("points", [np.full((5, 2), 50.0), np.full((5, 2), np.nan), placed(300, 0, 0, 0),
                                    placed(20, 100, 100, 0)])
def test_landmarks_that_are_no_faces_make_no_square(points: np.ndarray) -> None:
    assert align_square(np.zeros((200, 200), np.uint8), points, TEMPLATE, 80) is None


def test_without_sensible_landmarks_the_box_is_cut(face_photo: np.ndarray) -> None:
    box = np.array([[150, 100, 200, 200]], np.float32)
    plain = crop_faces(face_photo, box, FaceInput(48, 48))
    assert np.array_equal(crop_faces(face_photo, box, ALIGNED), plain)
    assert np.array_equal(crop_faces(face_photo, box, ALIGNED, np.zeros((1, 5, 2), np.float32)), plain)
    assert np.array_equal(crop_faces(face_photo, box, FaceInput(48, 48), placed(200, 150, 100, 20)[None]), plain)


def test_a_tilted_face_is_cut_upright(face_photo: np.ndarray) -> None:
    turned = cv2.warpAffine(face_photo, cv2.getRotationMatrix2D((250, 200), 20, 1), face_photo.shape[1::-1])
    matrix = cv2.getRotationMatrix2D((250, 200), 20, 1)
    points = placed(220, 155, 105, 0) @ matrix[:, :2].T + matrix[:, 2]
    box = np.array([[155, 105, 220, 220]], np.float32)
    upright = crop_faces(face_photo, box, ALIGNED, placed(220, 155, 105, 0)[None]).astype(int)
    assert np.abs(crop_faces(turned, box, ALIGNED, points[None]).astype(int) - upright).mean() < 4
    assert np.abs(crop_faces(turned, box, FaceInput(48, 48)).astype(int) - upright).mean() > 15


def test_a_template_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="five points"):
        FaceInput(48, 48, template=((0.1, 0.2),))
