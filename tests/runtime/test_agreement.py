"""Paired comparison, against figures counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.agreement import compare, kl_divergence, paired_interval, softmax

LOGITS = arrays(np.float32, (5, 4), elements=st.floats(-1000, 1000, width=32))
NAMES = ("a", "b")


@settings(deadline=None)
@given(LOGITS)
def test_probabilities_sum_to_one_however_large_the_logits(logits: np.ndarray) -> None:
    assert np.allclose(softmax(logits).sum(1), 1) and (softmax(logits) >= 0).all()


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[2.0, 0.0, 0.0]])
    assert softmax(logits, 4.0).max() < softmax(logits).max()


@settings(deadline=None)
@given(LOGITS, LOGITS)
def test_divergence_is_finite_and_never_negative(p: np.ndarray, q: np.ndarray) -> None:
    found = kl_divergence(p, q)
    assert (found >= 0).all() and np.isfinite(found).all()
    assert np.allclose(kl_divergence(p, p), 0, atol=1e-9)


def test_divergence_is_the_textbooks() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    wanted = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert kl_divergence(np.log(p)[None], np.log(q)[None])[0] == pytest.approx(wanted)


REFERENCE = np.array([[4, 0], [4, 0], [0, 4], [0, 4]], np.float32)  # says a a b b
LABELS = np.array([0, 0, 1, 0])  # the last answer is wrong


def test_identical_answers_cost_nothing() -> None:
    found = compare(REFERENCE, REFERENCE.copy(), LABELS, NAMES)
    assert (found.accuracy_drop, found.agreement, found.mean_kl, found.worst_delta) == (0, 1, 0, 0)
    assert found.accuracy_engine == 0.75 and found.recall_change == {"a": 0, "b": 0}


def test_one_changed_answer_is_counted_in_every_figure() -> None:
    engine = REFERENCE.copy()
    engine[2] = [1, 0]  # b becomes a
    found = compare(REFERENCE, engine, LABELS, NAMES)
    assert found.accuracy_drop == 25 and found.agreement == 0.75
    assert found.recall_change == {"a": 0, "b": -100} and found.worst_delta == 4
    assert found.worst_kl == pytest.approx(4 * found.mean_kl) and found.mean_kl > 0


def test_an_answer_that_corrects_the_reference_is_a_gain_but_no_agreement() -> None:
    engine = REFERENCE.copy()
    engine[3] = [4, 0]
    found = compare(REFERENCE, engine, LABELS, NAMES)
    assert found.accuracy_drop == -25 and found.agreement == 0.75


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_wrong_and_counted(value: float) -> None:
    engine = REFERENCE.copy()
    engine[0, 1] = value
    found = compare(REFERENCE, engine, LABELS, NAMES)
    assert (found.non_finite, found.accuracy_engine, found.agreement) == (1, 0.5, 0.75)
    assert np.isfinite([found.mean_kl, found.worst_kl, found.worst_delta]).all()


def test_a_class_without_images_has_no_recall() -> None:
    assert set(compare(REFERENCE, REFERENCE, LABELS * 0, NAMES).recall_change) == {"a"}


def answers(both: int, lost: int, won: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return who was right before and after, from the four counts of a paired table."""
    return (np.repeat([True, True, False, False], [both, lost, won, neither]),
            np.repeat([True, False, True, False], [both, lost, won, neither]))


@pytest.mark.parametrize(("table", "wanted"), [  # Newcombe 1998, table II, method 10
    ((36, 12, 2, 0), (0.0569, 0.3404)), ((36, 14, 0, 0), (0.1528, 0.4167)), ((50, 0, 0, 0), (-0.0713, 0.0713))])
def test_the_paired_interval_is_the_published_one(table: tuple[int, ...], wanted: tuple[float, float]) -> None:
    assert paired_interval(*answers(*table)) == pytest.approx(wanted, abs=5e-5)


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_the_paired_interval_holds_the_difference_and_turns_with_it(table: tuple[int, int, int, int]) -> None:
    before, after = answers(*table)
    low, high = paired_interval(before, after)
    assert -1 - 1e-9 <= low <= before.mean() - after.mean() <= high <= 1 + 1e-9
    assert paired_interval(after, before) == pytest.approx((-high, -low))


def test_the_paired_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):  # 2 % lost, 1 % won, of 600 images
        drawn = random.choice(4, 600, p=[0.6, 0.02, 0.01, 0.37])
        low, high = paired_interval((drawn == 0) | (drawn == 1), (drawn == 0) | (drawn == 2))
        inside += low <= 0.01 <= high
    assert 930 <= inside <= 990  # three standard deviations of a thousand draws are 2 points


def test_answers_to_other_images_have_no_paired_interval() -> None:
    with pytest.raises(ValueError, match="the same images"):
        paired_interval(np.ones(3, bool), np.ones(4, bool))
