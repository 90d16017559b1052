"""Several views of one face, against crops cut by hand."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.agreement import softmax
from runtime.errors import BadInput
from train.expression.views import centre_of, mean_log_probabilities, mean_probabilities, views_of, with_room


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48), dtype=np.uint8)


def test_ten_crops_are_four_corners_and_the_centre_and_their_mirrors(faces: np.ndarray) -> None:
    crops = views_of(faces, "ten-crop", 44)
    assert len(crops) == 10 and all(c.shape == (3, 1, 44, 44) for c in crops)
    np.testing.assert_array_equal(crops[0], faces[:, :, :44, :44])
    np.testing.assert_array_equal(crops[3], faces[:, :, 4:, 4:])
    np.testing.assert_array_equal(crops[4], faces[:, :, 2:46, 2:46])
    for crop, mirrored in zip(crops[:5], crops[5:]):
        np.testing.assert_array_equal(mirrored, crop[..., ::-1])


def test_a_single_view_of_the_whole_face_is_the_face(faces: np.ndarray) -> None:
    (only,) = views_of(faces, "single", 48)
    np.testing.assert_array_equal(only, faces)


def test_the_centre_is_the_single_view(faces: np.ndarray) -> None:
    np.testing.assert_array_equal(centre_of(faces, 44), faces[:, :, 2:46, 2:46])
    assert centre_of(faces, 48) is faces


def test_a_whole_face_is_enlarged_so_that_ten_crops_differ(faces: np.ndarray) -> None:
    large = with_room(faces, 48)
    assert large.shape == (3, 1, 52, 52) and large.dtype == np.uint8
    assert len({crop.tobytes() for crop in views_of(large, "ten-crop", 48)}) == 10
    assert large.mean() == pytest.approx(faces.mean(), abs=2)


def test_a_face_larger_than_its_crop_has_room_already(faces: np.ndarray) -> None:
    assert with_room(faces, 44) is faces


def test_colours_stay_in_their_channel_when_faces_are_enlarged() -> None:
    faces = np.zeros((2, 3, 24, 24), np.uint8) + np.array([10, 20, 30], np.uint8)[:, None, None]
    assert with_room(faces, 24).mean(axis=(0, 2, 3)).tolist() == [10, 20, 30]


def test_probabilities_are_averaged_not_logits(faces: np.ndarray) -> None:
    said = [np.array([[9.0, 0.0]] * 3), np.array([[0.0, 3.0]] * 3)]
    answers = iter(said)
    mean = mean_probabilities(lambda view: next(answers), faces, "mirror", 48)
    first, second = np.exp(9) / (np.exp(9) + 1), 1 / (1 + np.exp(3))
    np.testing.assert_allclose(mean[:, 0], (first + second) / 2)
    np.testing.assert_allclose(np.exp(mean_log_probabilities(said)), mean)


def test_a_mean_serves_as_logits_even_where_a_probability_underflowed() -> None:
    sure = mean_log_probabilities([np.array([[2000.0, 0.0]])])
    assert np.isfinite(sure).all() and softmax(sure)[0] == pytest.approx([1, 0])


def test_a_crop_larger_than_the_face_is_refused(faces: np.ndarray) -> None:
    with pytest.raises(BadInput, match="at most 48"):
        views_of(faces, "ten-crop", 64)
