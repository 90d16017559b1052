"""Golden vectors: the same every time, and each link fits the next."""

from __future__ import annotations

import io

import numpy as np
import pytest

from export.golden import SIZE, golden_bytes, make_golden
from export.photograph import LANDMARKS, load_photograph
from runtime.agreement import softmax
from runtime.card import GoldenFaces, Model
from runtime.preprocess import FaceInput, crop_faces

HOW = FaceInput(24, 24)


def linear(faces: np.ndarray) -> np.ndarray:
    """Stand for a network: seven fixed projections of the pixels."""
    weights = np.random.default_rng(0).normal(0, 0.001, (24 * 24, 7))
    return (faces.reshape(len(faces), -1) @ weights).astype(np.float32)


@pytest.fixture(scope="module")
def golden() -> GoldenFaces:
    """Golden vectors of that stand-in."""
    return make_golden(load_photograph(), HOW, ("calm", "cross"), linear, 1.5)


def test_the_same_vectors_give_the_same_bytes(golden: GoldenFaces) -> None:
    again = make_golden(load_photograph(), HOW, ("calm", "cross"), linear, 1.5)
    assert golden_bytes(golden) == golden_bytes(again)


def test_the_bytes_hold_every_array(golden: GoldenFaces) -> None:
    with np.load(io.BytesIO(golden_bytes(golden)), allow_pickle=False) as arrays:
        for name, array in vars(golden).items():
            assert array is None or np.array_equal(arrays[name], array)


def test_a_template_is_met_by_landmarks_that_move_with_their_boxes() -> None:
    template = tuple((float(x), float(y)) for x, y in (LANDMARKS - (155, 105)) / 222)
    aligned = make_golden(load_photograph(), FaceInput(24, 24, template=template), ("calm", "cross"), linear, 1.5)
    assert aligned.landmarks is not None and aligned.landmarks.shape == (len(aligned.faces), 5, 2)
    inside = (aligned.landmarks - aligned.boxes[:, None, :2]) / aligned.boxes[:, None, 2:]
    assert ((inside > 0.1) & (inside < 0.9)).all()
    for face, box, points, number in zip(aligned.faces, aligned.boxes, aligned.landmarks, aligned.frame_of):
        again = crop_faces(aligned.frames[number], box[None], FaceInput(24, 24, template=template), points[None])
        assert np.array_equal(again[0], face)


def test_every_face_is_the_crop_of_its_box(golden: GoldenFaces) -> None:
    for face, box, number in zip(golden.faces, golden.boxes, golden.frame_of):
        assert np.array_equal(crop_faces(golden.frames[number], box[None], HOW)[0], face)


def test_probabilities_and_labels_follow_from_the_logits(golden: GoldenFaces) -> None:
    assert np.allclose(golden.probabilities, softmax(golden.logits, 1.5), atol=1e-6)
    assert np.array_equal(golden.labels, golden.probabilities.argmax(1))


def test_some_boxes_reach_over_the_frames_edge(golden: GoldenFaces) -> None:
    right, bottom = golden.boxes[:, 0] + golden.boxes[:, 2], golden.boxes[:, 1] + golden.boxes[:, 3]
    outside = (golden.boxes[:, :2] < 0).any(1) | (right > SIZE[0]) | (bottom > SIZE[1])
    assert 0 < outside.sum() < len(golden.boxes)


def test_the_frames_differ_in_light_and_distance(golden: GoldenFaces) -> None:
    means = golden.frames.reshape(len(golden.frames), -1).mean(1)
    assert means.max() > 1.5 * means.min()
    assert golden.boxes[:, 2].max() > 2 * golden.boxes[:, 2].min()


def test_the_shipped_golden_faces_are_what_this_preprocessing_gives(shipped: Model) -> None:
    golden = shipped.read_golden()
    for number, frame in enumerate(golden.frames):
        mine = golden.frame_of == number
        crops = crop_faces(frame, golden.boxes[mine], shipped.card.input)
        # OpenCV's resize may round one grey level otherwise on another processor
        assert np.abs(crops.astype(int) - golden.faces[mine]).max() <= 1


def test_the_shipped_golden_labels_follow_from_the_logits(shipped: Model) -> None:
    golden = shipped.read_golden()
    assert np.array_equal(golden.labels, golden.logits.argmax(1))
    assert golden.logits.shape == (30, 7)
