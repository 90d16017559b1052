"""The picture on the page: small, and nobody in it to be recognized unless asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dashboard.channel import PREVIEW_BYTES
from runtime.dashboard.preview import WIDTH, render_preview

NONE = np.zeros((0, 4))


def decoded(content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def detail(image: np.ndarray) -> float:
    """How sharp a picture is: the variance of its Laplacian."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var())


def test_no_face_is_sharp_unless_asked_for(face_photo: np.ndarray) -> None:
    sharp = detail(decoded(render_preview(face_photo, NONE, show_faces=True)))
    assert detail(decoded(render_preview(face_photo, NONE))) < sharp / 50  # not even one that was not found


def test_a_found_face_is_a_few_blocks(face_photo: np.ndarray) -> None:
    box = np.array([[150.0, 90, 200, 200]])  # the photograph's face
    shown = decoded(render_preview(face_photo, box))
    scale = WIDTH / 600
    x, y, side = (round(v * scale) for v in (150, 90, 200))
    inside = cv2.cvtColor(shown[y : y + side, x : x + side], cv2.COLOR_BGR2GRAY).astype(float)
    steps = np.abs(np.diff(inside.mean(axis=0))) > 4
    assert steps.sum() <= 12  # four blocks in one and a half boxes' width: three edges, each a few pixels of JPEG
    assert detail(shown[y : y + side, x : x + side]) < 500


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.tuples(*[st.floats(-800, 1500)] * 4), st.booleans())
def test_any_frame_and_box_make_a_small_picture(height: int, width: int, box: tuple[float, ...], show: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    content = render_preview(noise, np.array([box]), show)
    assert len(content) <= PREVIEW_BYTES and max(decoded(content).shape[:2]) <= WIDTH


def test_the_frame_itself_is_left_alone(face_photo: np.ndarray) -> None:
    small = cv2.resize(face_photo, (100, 100))
    before = small.copy()
    render_preview(small, np.array([[20.0, 20, 50, 50]]))
    assert (small == before).all()


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1)])
def test_the_oddest_shapes_are_pictures_too(size: tuple[int, int]) -> None:
    assert decoded(render_preview(np.zeros((*size, 3), np.uint8), NONE)).size > 0
