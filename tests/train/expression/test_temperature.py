"""The fitted temperature: nothing is likelier, whatever the logits' scale, and it serves faces it was not fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.agreement import negative_log_likelihood, softmax
from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces
from train.expression.open_network import open_network
from train.expression.temperature import HIGHEST, LOWEST, fit_temperature


def drawn(true_temperature: float, count: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels were drawn from softmax(logits / true_temperature)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (count, 5))
    shares = softmax(logits, true_temperature).cumsum(axis=1)
    return logits, (random.random((count, 1)) > shares).sum(axis=1).clip(max=4)


def likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return negative_log_likelihood(softmax(logits, temperature), labels)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.06)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.3, 4), st.floats(0.3, 4))
def test_no_other_temperature_is_likelier(seed: int, true_temperature: float, factor: float) -> None:
    logits, labels = drawn(true_temperature, 60, seed)
    fitted = fit_temperature(logits, labels)
    other = float(np.clip(fitted * factor, LOWEST, HIGHEST))
    assert likelihood(logits, labels, fitted) <= likelihood(logits, labels, other) + 1e-9


@settings(deadline=None, max_examples=25)
@given(st.floats(0.5, 2))
def test_logits_twice_as_large_want_twice_the_temperature(scale: float) -> None:
    logits, labels = drawn(1.0, 500)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale * fit_temperature(logits, labels), rel=1e-6)


def test_a_common_offset_of_a_face_changes_nothing() -> None:
    logits, labels = drawn(1.5, 500)
    offset = np.random.default_rng(1).normal(0, 50, (500, 1))
    assert fit_temperature(logits + offset, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_answers_that_are_all_right_end_at_the_lowest_and_all_wrong_at_the_highest() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]]
    assert fit_temperature(logits, np.array([0, 1, 2, 0])) == pytest.approx(LOWEST)
    assert fit_temperature(logits, np.array([1, 2, 0, 1])) == pytest.approx(HIGHEST)


@pytest.mark.parametrize(("logits", "labels", "said"), [
    (np.zeros((0, 3)), np.zeros(0, np.int64), "N ≥ 1 labels"),
    (np.zeros((2, 3)), np.zeros(3, np.int64), "N ≥ 1 labels"),
    (np.array([[0.0, np.nan]]), np.zeros(1, np.int64), "1 faces with NaN"),
])
def test_what_cannot_be_fitted_is_refused(logits: np.ndarray, labels: np.ndarray, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fit_temperature(logits, labels)


def test_a_temperature_of_publictest_serves_privatetest(fer2013: LabelledFaces) -> None:
    network = open_network(Path("mien-light"), "int8")
    random = np.random.default_rng(0)
    found = []
    for split in ("PublicTest", "PrivateTest"):
        faces = fer2013.split(split)
        faces = faces.where(random.permutation(len(faces))[:384])
        found.append((network.logits(faces.images[:, None]), faces.labels))
    temperature, best = fit_temperature(*found[0]), fit_temperature(*found[1])
    assert temperature == pytest.approx(best, rel=0.2)  # 384 faces each
    for other in (0.5 * temperature, 2 * temperature):
        assert likelihood(*found[1], temperature) < likelihood(*found[1], other)
