"""The stream's crops of a data set's faces: the same faces, a little otherwise, and where the template says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.face_input import FaceInput
from train.datasets.fer2013 import load_fer2013
from train.datasets.labelled_faces import LabelledFaces
from train.expression.parts import Parts, face_input, with_streamed
from train.expression.stream_crops import (
    AROUND,
    SHOWN,
    TEMPLATE,
    aligned_input,
    in_a_frame,
    middle_face,
    open_crop_detector,
    stream_crop,
    with_stream_crops,
)
from train.recipe import Recipe

FACES = 150
HOW = aligned_input(FaceInput(48, 48))


@pytest.fixture(scope="module")
def faces(mien_data: Path) -> LabelledFaces:
    """Training faces, spread over the classes."""
    training = load_fer2013(mien_data / "fer2013").split("Training")
    return training.where(np.linspace(0, len(training) - 1, FACES).astype(int))


def test_a_face_is_shown_in_the_middle_of_a_frame() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    frame = in_a_frame(image)
    assert frame.shape == (SHOWN + 2 * AROUND, SHOWN + 2 * AROUND, 3)
    shown = frame[AROUND:-AROUND, AROUND:-AROUND, 0]
    assert np.abs(shown.reshape(48, 4, 48, 4).mean((1, 3)) - image).mean() < 25  # noise, enlarged


def test_the_template_is_where_the_detector_sees_the_landmarks(faces: LabelledFaces) -> None:
    detector = open_crop_detector()
    each = [detector.detect(in_a_frame(image)) for image in faces.images]
    found = [f.landmarks[at] for f in each if (at := middle_face(f)) is not None and f.landmarks is not None]
    shares = (np.median(np.array(found), axis=0) - AROUND) / SHOWN
    assert len(found) > 0.95 * FACES
    assert np.abs(shares - TEMPLATE).max() < 0.025


def test_nearly_every_face_is_found_and_cut_as_it_was(faces: LabelledFaces) -> None:
    detector, alike = open_crop_detector(), []
    for image in faces.images:
        crop = stream_crop(image, HOW, detector)
        if crop is not None:
            assert crop.shape == (1, 48, 48)
            alike.append(np.corrcoef(crop.ravel(), image.ravel())[0, 1])
    assert len(alike) > 0.95 * FACES
    assert 0.5 < np.median(alike) < 0.999


def test_an_image_without_a_face_has_no_crop() -> None:
    assert stream_crop(np.full((48, 48), 90, np.uint8), HOW, open_crop_detector()) is None


def test_both_kinds_stand_beside_each_other_with_their_labels(faces: LabelledFaces) -> None:
    few = faces.where(np.arange(40))
    both = with_stream_crops(few, HOW)
    assert np.array_equal(both.images[:40], few.images) and 70 <= len(both) <= 80
    for name, label in zip(both.names[40:], both.labels[40:]):
        assert label == few.labels[list(few.names).index(name.removesuffix(" as streamed"))]


def test_a_recipe_says_whether_and_its_card_then_aligns(faces: LabelledFaces) -> None:
    few = faces.where(np.arange(20))
    parts = Parts(few, few, few, None)
    plain, streamed = Recipe("x", "small-vgg"), Recipe("x", "small-vgg", as_streamed=True)
    assert with_streamed(plain, parts) is parts and face_input(plain).template is None
    assert face_input(streamed).template == TEMPLATE
    more = with_streamed(streamed, parts)
    assert more.choosing is not None
    assert len(more.training) > len(few) and len(more.choosing) > len(few) and len(more.reported) == len(few)
