"""Following: boxes go where the picture under them went, and say when it did not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from runtime.tracks.following import Follower

FACE = np.array([[155.0, 98, 230, 233]])  # of the photograph, 512×600
SIZE = (512, 600)
BESIDE = np.array([512, 0, 0, 0])  # the same face in a second copy on the right


def warped(photo: np.ndarray, shift: tuple[float, float] = (0, 0), scale: float = 1.0, tilt: float = 0) -> np.ndarray:
    """Move a picture about the face's centre."""
    centre = FACE[0, :2] + FACE[0, 2:] / 2
    matrix = cv2.getRotationMatrix2D(tuple(centre), tilt, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(photo, matrix, SIZE, borderMode=cv2.BORDER_REFLECT_101)


def noise_like(photo: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, photo.shape, dtype=np.uint8)


def follow(before: np.ndarray, now: np.ndarray, boxes: np.ndarray = FACE) -> tuple[np.ndarray, np.ndarray]:
    follower = Follower()
    follower.remember(before)
    found = follower.follow(now, boxes)
    return found.boxes, found.trust


@pytest.mark.parametrize("shift", [(0, 0), (7, -4), (-22, 11), (30, 0)])
def test_a_shifted_face_is_followed_to_the_pixel(face_photo: np.ndarray, shift: tuple[float, float]) -> None:
    boxes, trust = follow(face_photo, warped(face_photo, shift))
    assert boxes[0] == pytest.approx(FACE[0] + (*shift, 0, 0), abs=1.5)
    assert trust[0] > 0.7


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_a_face_that_comes_nearer_or_goes_grows_or_shrinks(face_photo: np.ndarray, scale: float) -> None:
    boxes, trust = follow(face_photo, warped(face_photo, scale=scale))
    assert boxes[0, 2:] == pytest.approx(FACE[0, 2:] * scale, rel=0.02)
    assert trust[0] > 0.8


def test_a_tilted_head_and_a_darker_room_are_followed(face_photo: np.ndarray) -> None:
    now = (warped(face_photo, (6, 3), tilt=4) * 0.8).astype(np.uint8)
    boxes, trust = follow(face_photo, now)
    assert boxes[0] == pytest.approx(FACE[0] + (6, 3, 0, 0), abs=8)
    assert trust[0] > 0.5


def test_each_box_goes_its_own_way(face_photo: np.ndarray) -> None:
    before, now = np.hstack([face_photo] * 2), np.hstack([warped(face_photo, (9, 0)), warped(face_photo, (-9, 0))])
    both = np.concatenate([FACE, FACE + BESIDE])
    boxes, _ = follow(before, now, both)
    assert (boxes - both)[:, 0] == pytest.approx([9, -9], abs=1.5)


def test_a_face_that_is_replaced_by_noise_is_lost(face_photo: np.ndarray) -> None:
    boxes, trust = follow(face_photo, noise_like(face_photo))
    assert trust[0] == 0 and (boxes == FACE).all()


def test_one_lost_face_costs_the_others_nothing(face_photo: np.ndarray) -> None:
    before, now = np.hstack([face_photo] * 2), np.hstack([warped(face_photo, (9, 0)), noise_like(face_photo)])
    boxes, trust = follow(before, now, np.concatenate([FACE, FACE + BESIDE]))
    assert trust[0] > 0.7 and trust[1] == 0
    assert boxes[0, 0] - FACE[0, 0] == pytest.approx(9, abs=3)


def test_nothing_is_followed_without_a_frame_before_or_from_one_of_another_size(face_photo: np.ndarray) -> None:
    follower = Follower()
    assert follower.follow(face_photo, FACE).trust[0] == 0
    assert follower.follow(face_photo[:300], FACE).trust[0] == 0
    assert follower.follow(face_photo[:300], FACE).trust[0] > 0.8


@pytest.mark.parametrize("box", [(-40.0, -40, 90, 90), (480, 570, 60, 60), (2000, 2000, 50, 50), (0, 0, 1, 1)])
def test_a_box_at_the_edge_or_beyond_it_ends_no_stream(face_photo: np.ndarray, box: tuple[float, ...]) -> None:
    boxes, trust = follow(face_photo, warped(face_photo, (5, 5)), np.array([box]))
    assert np.isfinite(boxes).all() and 0 <= trust[0] <= 1


@pytest.mark.parametrize("count", [0, 1, 17, 64])
def test_any_number_of_boxes_gives_as_many(face_photo: np.ndarray, count: int) -> None:
    boxes, trust = follow(face_photo, warped(face_photo, (4, 0)), np.repeat(FACE, count, axis=0))
    assert boxes.shape == (count, 4) and trust.shape == (count,)
    assert boxes[:, 0] - FACE[0, 0] == pytest.approx(np.full(count, 4), abs=1.5)


def test_a_frame_of_a_few_pixels_is_followed_or_lost_but_no_error() -> None:
    tiny = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    assert follow(tiny, tiny, np.array([[0.0, 0, 9, 9]]))[0].shape == (1, 4)
