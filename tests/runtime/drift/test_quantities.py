"""What is watched of a face, against what is known of it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched_model import random_faces

from runtime.agreement import softmax
from runtime.drift.quantities import LEAST_KL, MOST_KL, departure, log_kl, look_at, weigh

LOGITS = np.array([2.0, 0.5, -1.0], np.float32)


def test_looks_are_those_of_the_picture() -> None:
    face = random_faces(1)[0]
    look = look_at(face)
    assert look["brightness"] == pytest.approx(face.mean()) and look["contrast"] == pytest.approx(face.std())
    assert look_at(face // 2)["brightness"] == pytest.approx(look["brightness"] / 2, abs=1)
    assert look_at(cv2.GaussianBlur(face[0], (0, 0), 1.0)[None])["sharpness"] < look["sharpness"] / 2


def test_a_coloured_crop_looks_like_its_mean() -> None:
    face = random_faces(1)[0]
    assert look_at(np.repeat(face, 3, axis=0)) == pytest.approx(look_at(face))


def test_an_engine_that_says_the_same_does_not_depart() -> None:
    kl, shift, agrees = departure(LOGITS, softmax(LOGITS, 0.8).astype(np.float32), 0.8)
    assert log_kl(kl) == math.log10(LEAST_KL) and shift == pytest.approx(0, abs=1e-6) and agrees


def test_a_departure_is_the_divergence_the_shift_and_the_label() -> None:
    said, other = softmax(LOGITS), softmax(np.array([0.0, 1.0, 0.0]))
    kl, shift, agrees = departure(LOGITS, other.astype(np.float32), 1.0)
    assert kl == pytest.approx(float((said * np.log(said / other)).sum()), rel=1e-5)
    assert shift == pytest.approx(other[0] - said[0], abs=1e-6) and not agrees


def test_an_answer_that_is_not_finite_is_as_far_as_can_be() -> None:
    kl, shift, agrees = departure(LOGITS, None, 1.0)
    assert log_kl(kl) == math.log10(MOST_KL) and shift < 0 and not agrees


@given(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), st.floats(-20, 20))
def test_energy_moves_with_all_logits_and_confidence_does_not(logits: list[float], by: float) -> None:
    before, after = weigh(np.array(logits), 1.0), weigh(np.array(logits) + by, 1.0)
    assert after["energy"] == pytest.approx(before["energy"] + by, abs=1e-6)
    assert after["confidence"] == pytest.approx(before["confidence"], abs=1e-6)
