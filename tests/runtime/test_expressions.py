"""Logits become probabilities, and those a label, "unsure" or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny_model import LABELS, TinyNetwork

from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import MienError
from runtime.expressions import UNSURE, ExpressionReader, probabilities_of, read_logits

ABC = ("a", "b", "c")
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_probabilities_are_the_softmax() -> None:
    logits = np.log(np.array([[1, 2, 5]], np.float32))
    assert probabilities_of(logits)[0] == pytest.approx([0.125, 0.25, 0.625])


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[4.0, 0.0, 0.0]], np.float32)
    assert probabilities_of(logits, 2.0)[0] == pytest.approx(probabilities_of(logits / 2)[0])


def test_a_batch_of_none_stays_empty() -> None:
    assert probabilities_of(np.zeros((0, 3), np.float32)).shape == (0, 3)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float32, (4, 7), elements=FINITE), st.floats(0.05, 20))
def test_any_finite_logits_give_probabilities_that_sum_to_one(logits: np.ndarray, temperature: float) -> None:
    probabilities = probabilities_of(logits, temperature)
    assert probabilities.dtype == np.float32
    assert (probabilities >= 0).all() and np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5


def test_the_most_probable_label_is_read() -> None:
    (read,) = read_logits(np.array([[0, 3, 1]], np.float32), ABC)
    assert read is not None and read.label == "b"
    assert read.probability == pytest.approx(float(read.probabilities.max()))


def test_below_the_threshold_a_face_is_unsure() -> None:
    (read,) = read_logits(np.array([[0.0, 0.1, 0.0]], np.float32), ABC, threshold=0.5)
    assert read is not None and (read.label, round(read.probability, 2)) == (UNSURE, 0.36)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_face_without_finite_logits_is_none_and_its_neighbour_is_read(bad: float) -> None:
    first, second = read_logits(np.array([[0, bad, 0], [9, 0, 0]], np.float32), ABC)
    assert first is None
    assert second is not None and second.label == "a"


@pytest.mark.parametrize("shape", [(2, 4), (3,), (1, 3, 1)])
def test_logits_of_another_shape_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(MienError, match="disagree"):
        read_logits(np.zeros(shape, np.float32), ABC)


def test_the_reader_joins_crop_engine_and_card(tiny_model: Path, face_photo: np.ndarray) -> None:
    model = load_model(tiny_model)
    reader = ExpressionReader(model, open_engine(model, "fp32", "cpu"))
    crops = reader.crop(face_photo, np.array([[155, 98, 230, 233], [0, 0, 60, 60]], np.float32))
    assert crops.shape == (2, 1, 48, 48)
    expected = TinyNetwork.random().logits(crops).argmax(axis=1)
    assert [e.label for e in reader.infer(crops) if e] == [LABELS[i] for i in expected]


def test_a_frame_without_faces_never_reaches_the_engine(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    engine = open_engine(model, "fp32", "cpu")
    engine.close()  # it would raise
    assert ExpressionReader(model, engine).infer(np.zeros((0, 1, 48, 48), np.uint8)) == []
