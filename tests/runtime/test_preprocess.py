"""The one road from a box in a frame to a network's input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BadInput
from runtime.preprocess import FaceInput, crop_faces, crop_square, prepare_face, prepare_faces

GREY = FaceInput(48, 48)
noise = np.random.default_rng(0)


def test_a_grey_face_of_the_right_size_passes_through_untouched() -> None:
    face = noise.integers(0, 256, (48, 48), dtype=np.uint8)
    assert (prepare_face(face, GREY) == face[None]).all()


def test_a_grey_picture_in_three_channels_gives_the_same_face() -> None:
    face = noise.integers(0, 256, (61, 53), dtype=np.uint8)
    assert (prepare_face(np.dstack([face] * 3), GREY) == prepare_face(face, GREY)).all()


def test_rgb_order_is_the_reverse_of_the_frames() -> None:
    blue = np.zeros((48, 48, 3), np.uint8)
    blue[..., 0] = 255  # BGR
    face = prepare_face(blue, FaceInput(48, 48, "rgb"))
    assert face.shape == (3, 48, 48)
    assert [int(channel.max()) for channel in face] == [0, 0, 255]


def test_a_face_is_contiguous_uint8() -> None:
    face = prepare_face(noise.integers(0, 256, (90, 70, 3), dtype=np.uint8), FaceInput(48, 40, "rgb"))
    assert (face.shape, face.dtype, face.flags.c_contiguous) == ((3, 48, 40), np.uint8, True)


def test_shrinking_averages() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (96, 48))  # finer than the target can show
    assert np.abs(prepare_face(stripes, GREY).astype(int) - 128).max() <= 1


def test_equalize_spreads_a_dull_face() -> None:
    dull = noise.integers(100, 120, (48, 48), dtype=np.uint8)
    assert np.ptp(prepare_face(dull, FaceInput(48, 48, equalize=True))) == 255


@pytest.mark.parametrize("face", [np.zeros((48, 48), np.float32), np.zeros((0, 48), np.uint8),
                                  np.zeros((48, 48, 4), np.uint8), np.zeros(48, np.uint8)])
def test_another_kind_of_array_is_refused(face: np.ndarray) -> None:
    with pytest.raises(BadInput, match="expected a face"):
        prepare_face(face, GREY)


def test_a_square_box_without_margin_is_cut_exactly() -> None:
    frame = noise.integers(0, 256, (100, 120), dtype=np.uint8)
    assert (crop_square(frame, (30, 20, 40, 40), 0) == frame[20:60, 30:70]).all()


def test_a_tall_box_is_widened_about_its_centre() -> None:
    frame = noise.integers(0, 256, (100, 120), dtype=np.uint8)
    assert (crop_square(frame, (40, 20, 20, 40), 0) == frame[20:60, 30:70]).all()


def test_a_margin_widens_the_square() -> None:
    frame = noise.integers(0, 256, (100, 120), dtype=np.uint8)
    assert (crop_square(frame, (40, 30, 20, 20), 0.5) == frame[25:55, 35:65]).all()


def test_a_negative_margin_narrows_it() -> None:
    frame = noise.integers(0, 256, (100, 120), dtype=np.uint8)
    assert (crop_square(frame, (40, 30, 40, 40), -0.5) == frame[40:60, 50:70]).all()


@pytest.mark.parametrize(("box", "corner", "edge"), [((-20, -20, 40, 40), (0, 0), (0, 0)),
                                                     ((100, 80, 40, 40), (-1, -1), (-1, -1))])
def test_outside_the_frame_its_border_repeats(
    box: tuple[int, ...], corner: tuple[int, int], edge: tuple[int, int]
) -> None:
    frame = noise.integers(0, 256, (100, 120), dtype=np.uint8)
    square = crop_square(frame, box, 0)
    assert square.shape == (40, 40)
    assert square[corner] == frame[edge]


@pytest.mark.parametrize("box", [(120, 0, 10, 10), (-10, 0, 10, 10), (0, 100, 10, 10), (5, 5, 0, 0),
                                 (np.nan, 0, 10, 10), (0, 0, np.inf, 10), (1, 1, 10, np.nan), (1, 1, np.nan, 10)])
def test_a_box_that_misses_the_frame_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="meets the 120×100 frame"):
        crop_square(np.zeros((100, 120), np.uint8), box, 0)


@settings(max_examples=200, deadline=None)
@given(st.floats(-300, 300), st.floats(-300, 300), st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.floats(-0.5, 2))
def test_any_box_gives_a_bounded_square_or_one_error(
    x: float, y: float, width: float, height: float, margin: float
) -> None:
    frame = np.zeros((60, 80), np.uint8)
    try:
        square = crop_square(frame, (x, y, width, height), margin)
    except BadInput:
        return
    assert square.shape[0] == square.shape[1] <= 160


def test_no_boxes_give_an_empty_batch_of_the_right_shape() -> None:
    assert crop_faces(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4)), FaceInput(48, 40, "rgb")).shape == (0, 3, 48, 40)


def test_faces_of_a_frame_come_in_the_order_of_their_boxes() -> None:
    frame = np.zeros((60, 120, 3), np.uint8)
    frame[:, 60:] = 255
    faces = crop_faces(frame, np.array([[70, 10, 40, 40], [10, 10, 40, 40]], np.float32), GREY)
    assert (faces[0].min(), faces[1].max()) == (255, 0)


def test_a_grey_frame_and_its_bgr_form_give_equal_faces(face_photo: np.ndarray) -> None:
    grey = cv2.cvtColor(face_photo, cv2.COLOR_BGR2GRAY)
    boxes = np.array([[155, 98, 230, 233]], np.float32)
    apart = crop_faces(face_photo, boxes, GREY).astype(int) - crop_faces(grey, boxes, GREY)
    assert np.abs(apart).max() <= 1  # the crop is turned grey before or after cutting: equal but for rounding


@pytest.mark.parametrize("values", [{"height": 0}, {"width": 5000}, {"margin": 3.0}, {"margin": -0.6},
                                    {"colour": "rgb", "equalize": True}])
def test_an_impossible_input_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        FaceInput(**{"height": 48, "width": 48, **values})  # type: ignore[arg-type]


# the centre of a larger face, as crops were drawn in training

def test_the_centre_is_taken_of_the_face_at_its_resized_side() -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    taken = prepare_face(face, FaceInput(44, 44, resize=48))
    assert np.array_equal(taken[0], face[2:46, 2:46]) and taken.flags["C_CONTIGUOUS"]
    assert np.array_equal(prepare_faces(face[None], FaceInput(44, 44, resize=48))[0], taken)


def test_equalization_sees_the_whole_face_before_its_centre_is_taken() -> None:
    face = np.random.default_rng(0).integers(0, 100, (48, 48), np.uint8)
    taken = prepare_face(face, FaceInput(44, 44, resize=48, equalize=True))
    assert np.array_equal(taken[0], cv2.equalizeHist(face)[2:46, 2:46])


@pytest.mark.parametrize("resize", [43, 5000])
def test_a_face_smaller_than_its_centre_is_refused(resize: int) -> None:
    with pytest.raises(ValueError, match="resize to at least the input's side"):
        FaceInput(44, 44, resize=resize)
