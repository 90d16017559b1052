"""A cut is noticed; motion, light and noise are no cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from runtime.tracks.scene_cut import SceneCut


def cut_between(before: np.ndarray, now: np.ndarray) -> bool:
    cut = SceneCut()
    assert not cut.look(before)
    return cut.look(now)


def test_another_scene_is_a_cut(face_photo: np.ndarray) -> None:
    assert cut_between(face_photo, face_photo[::-1])
    noise = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8), (512, 600))
    assert cut_between(face_photo, noise)


def test_another_size_is_a_cut(face_photo: np.ndarray) -> None:
    assert cut_between(face_photo, face_photo[:480])


@pytest.mark.parametrize("gain", [0.3, 0.7, 1.4])
def test_a_change_of_light_is_none(face_photo: np.ndarray, gain: float) -> None:
    assert not cut_between(face_photo, np.clip(face_photo * gain, 0, 255).astype(np.uint8))


def test_a_fast_pan_is_none(face_photo: np.ndarray) -> None:
    assert not cut_between(face_photo[:, :400], face_photo[:, 40:440])


def test_a_dark_picture_with_noise_is_none_and_neither_is_what_follows_it(face_photo: np.ndarray) -> None:
    random, cut = np.random.default_rng(0), SceneCut()
    dark = [random.integers(0, 3, face_photo.shape, dtype=np.uint8) for _ in range(2)]
    assert [cut.look(frame) for frame in (face_photo, *dark, face_photo)] == [False] * 4


def test_a_frame_of_one_pixel_is_looked_at() -> None:
    assert not cut_between(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8))
