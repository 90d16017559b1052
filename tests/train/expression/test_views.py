import numpy as np
import pytest

from runtime.errors import BadInput
from train.expression.views import mean_probabilities, views_of


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48), dtype=np.uint8)


def test_ten_crops_are_four_corners_and_the_centre_and_their_mirrors(faces):
    crops = views_of(faces, "ten-crop", 44)
    assert len(crops) == 10 and all(c.shape == (3, 1, 44, 44) for c in crops)
    np.testing.assert_array_equal(crops[0], faces[:, :, :44, :44])
    np.testing.assert_array_equal(crops[3], faces[:, :, 4:, 4:])
    np.testing.assert_array_equal(crops[4], faces[:, :, 2:46, 2:46])
    for crop, mirrored in zip(crops[:5], crops[5:]):
        np.testing.assert_array_equal(mirrored, crop[..., ::-1])


def test_a_single_view_of_the_whole_face_is_the_face(faces):
    (only,) = views_of(faces, "single", 48)
    np.testing.assert_array_equal(only, faces)


def test_probabilities_are_averaged_not_logits(faces):
    answers = iter([np.array([[9.0, 0.0]] * 3), np.array([[0.0, 3.0]] * 3)])
    mean = mean_probabilities(lambda view: next(answers), faces, "mirror", 48)
    first, second = np.exp(9) / (np.exp(9) + 1), 1 / (1 + np.exp(3))
    np.testing.assert_allclose(mean[:, 0], (first + second) / 2)


def test_a_crop_larger_than_the_face_is_refused(faces):
    with pytest.raises(BadInput, match="at most 48"):
        views_of(faces, "ten-crop", 64)
