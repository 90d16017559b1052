"""What two networks said side by side, against figures counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from export.gate.answers import NO_ANSWER, Answers, confusion, macro_f1

REFERENCE = np.array([[4, 0], [4, 0], [0, 4], [0, 4]], np.float32)  # says a a b b
LABELS = np.array([0, 0, 1, 0])  # the last answer is wrong
NAMES = ("a", "b")


def answers(engine: np.ndarray, temperature: float = 1.0) -> Answers:
    return Answers(REFERENCE, engine, LABELS, NAMES, temperature)


def changed() -> np.ndarray:
    engine = REFERENCE.copy()
    engine[2] = [1, 0]  # b becomes a, and was right
    return engine


def test_one_changed_answer_is_counted_in_every_figure() -> None:
    figures = answers(changed()).figures()
    assert (figures["accuracy_drop"], figures["lost"], figures["won"], figures["agreement"]) == (25, 1, 0, 0.75)
    assert figures["mcnemar_p"] == 1.0 and figures["macro_f1_engine"] == pytest.approx(1 / 3)  # a: 4 of 6, b: 0
    assert answers(changed()).flips().tolist() == [2]


def test_classes_carry_their_own_losses() -> None:
    a, b = answers(changed()).classes()
    assert (a.name, a.images, a.lost, a.won) == ("a", 3, 0, 0)
    assert (b.recall_reference, b.recall_engine, b.lost) == (1, 0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_wrong_and_flips_first(value: float) -> None:
    engine = changed()
    engine[0, 1] = value
    found = answers(engine)
    assert found.said_engine.tolist() == [NO_ANSWER, 0, 0, 1] and found.flips().tolist() == [0, 2]
    assert found.figures()["non_finite"] == 1 and len(found.kl) == 3
    assert json.dumps(found.figures(), allow_nan=False)


def test_the_calibration_shift_is_the_difference_of_the_errors() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(0, 2, (500, 7))
    found = Answers(reference, reference * 0.6 + random.normal(0, 0.3, (500, 7)), random.integers(0, 7, 500),
                    tuple("abcdefg"), 0.8)
    before, after = found.reliability
    assert found.calibration_shift.mean() == pytest.approx(after.error - before.error, abs=1e-12)
    assert found.confidence_shift < -0.05  # compressed


def test_the_cards_temperature_decides_how_sure_both_are() -> None:
    assert answers(REFERENCE, 4.0).probabilities[0].max() < answers(REFERENCE).probabilities[0].max()


def test_confusion_counts_labels_by_answers_and_leaves_no_answer_out() -> None:
    assert confusion(np.array([0, 1, NO_ANSWER]), np.array([0, 0, 1]), 2).tolist() == [[1, 1], [0, 0]]


def test_a_class_without_images_does_not_count_in_macro_f1() -> None:
    assert macro_f1(np.array([0, 0]), np.array([0, 0]), 7) == 1
