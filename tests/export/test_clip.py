"""The clip: the same frames every time, a face that moves, and a stretch without one."""

from __future__ import annotations

import numpy as np
import pytest
from opencv_four import needs_haar

from export.clip import render_clip, render_view, view_at, view_matrix
from export.photograph import FACE, load_photograph
from runtime.faces import open_detector


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return load_photograph()


def test_a_clip_has_the_frames_and_the_size_asked_for(photograph: np.ndarray) -> None:
    frames = list(render_clip(photograph, 5, (320, 240)))
    assert len(frames) == 5
    assert {(f.shape, f.dtype.name) for f in frames} == {((240, 320, 3), "uint8")}


def test_a_clip_is_the_same_every_time(photograph: np.ndarray) -> None:
    once, again = (list(render_clip(photograph, 4, (160, 120))) for _ in range(2))
    assert np.array_equal(once, again)


def test_the_camera_moves_smoothly() -> None:
    steps = np.array([list(vars(view_at(share)).values()) for share in np.linspace(0, 1, 301)])
    assert np.abs(np.diff(steps[:, :3], axis=0)).max() < 15  # pixels of the photograph between two frames of 300
    assert np.abs(np.diff(steps[:, 3], axis=0)).max() < 0.05  # of the gain


@needs_haar
def test_the_face_is_out_of_sight_for_a_while(photograph: np.ndarray) -> None:
    detector = open_detector("haar", 4, 0.5, 1)
    seen = [bool(len(detector.detect(render_view(photograph, view_at(share), (640, 480))).boxes))
            for share in (0.15, 0.3, 0.62, 0.7, 0.9)]
    detector.close()
    assert seen == [True, True, False, False, True]


def test_the_view_maps_its_centre_to_the_frames_centre() -> None:
    view = view_at(0.3)
    assert view_matrix(view, (640, 480)) @ (view.x, view.y, 1) == pytest.approx((320, 240))


def test_the_light_changes(photograph: np.ndarray) -> None:
    bright, dark = (render_view(photograph, view_at(share), (160, 120)).mean() for share in (0.3, 0.42))
    assert bright > 2 * dark


@needs_haar
def test_the_photographs_face_is_where_the_constant_says(photograph: np.ndarray) -> None:
    detector = open_detector("haar", 1, 0.5, 1)
    box = detector.detect(photograph).boxes[0]
    detector.close()
    assert np.abs(np.array(box) - FACE).max() < 0.15 * FACE[2]
