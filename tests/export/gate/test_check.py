"""Verdicts: what passes, what fails, what asks for more images, and how many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.gate.answers import Answers
from export.gate.budget import Budget
from export.gate.check import Finding, Judgement, answer_all, judge
from runtime.errors import BadInput, MienError

NAMES = ("a", "b", "c", "d")
WIDE = Budget(accuracy_drop=100, agreement=0, recall_drop=100, kl=100, ece_shift=1)


def drawn(images: int, lost: int, won: int = 0, noise: float = 0.05) -> Answers:
    """Return answers of a sure network of 80 % accuracy and an engine that loses and wins so many."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % 4
    right = np.arange(images) % 5 > 0
    said = np.where(right, labels, (labels + 1) % 4)
    then = said.copy()
    then[np.flatnonzero(right)[:lost]] = (labels[np.flatnonzero(right)[:lost]] + 1) % 4
    then[np.flatnonzero(~right)[:won]] = labels[np.flatnonzero(~right)[:won]]
    reference = 1.6 * np.eye(4)[said]
    return Answers(reference, 1.6 * np.eye(4)[then] + random.normal(0, noise, (images, 4)), labels, NAMES)


def finding(judged: Judgement, name: str) -> Finding:
    return next(f for f in (*judged.findings, *judged.reported) if f.name == name)


@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (40, "inconclusive"), (150, "fail")])
def test_a_drop_passes_inside_fails_outside_and_is_undecided_between(lost: int, verdict: str) -> None:
    judged = judge(drawn(4000, lost, won=10 if lost else 0), replace(WIDE, accuracy_drop=0.8))
    assert judged.verdict == finding(judged, "accuracy_drop").verdict == verdict


def test_the_images_that_it_asks_for_decide() -> None:
    judged = judge(drawn(2000, 20, won=8), replace(WIDE, accuracy_drop=0.9))
    more = judged.more_images
    assert judged.verdict == "inconclusive" and more is not None
    times = (2000 + more) / 2000
    enough = judge(drawn(2000 + more, round(20 * times), won=round(8 * times)), replace(WIDE, accuracy_drop=0.9))
    fewer = judge(drawn(2000 + more // 2, round(20 * (1 + times) / 2), won=round(8 * (1 + times) / 2)),
                  replace(WIDE, accuracy_drop=0.9))
    assert (enough.verdict, fewer.verdict) == ("pass", "inconclusive")


def test_a_figure_on_its_limit_asks_for_no_number() -> None:
    judged = judge(drawn(2000, 20), replace(WIDE, accuracy_drop=1.0))
    assert judged.verdict == "inconclusive" and judged.more_images is None
    assert finding(judged, "accuracy_drop").text.endswith(
        "undecided, the figure lies on its limit and more images would not tell")


@pytest.mark.parametrize("budget", [{"agreement": 1}, {"kl": 0}, {"ece_shift": 0}])
def test_an_engine_that_answers_the_same_passes_a_budget_of_nothing(budget: dict[str, float]) -> None:
    same = drawn(400, 0, noise=0)
    judged = judge(same, replace(WIDE, **budget))
    assert judged.verdict == "pass" and judged.more_images is None


def test_where_no_label_may_change_one_that_did_is_a_failure() -> None:
    changed = finding(judge(drawn(400, 1, noise=0), replace(WIDE, agreement=1)), "labels_changed")
    assert changed.text == "labels_changed 0.25 (0.25 to 0.25) %, 0.00 allowed: broken"


@pytest.mark.parametrize(("budget", "name"), [
    ({"accuracy_drop": 1.0}, "accuracy_drop"), ({"agreement": 0.99}, "labels_changed"),
    ({"recall_drop": 1.0}, "recall_drop c"), ({"kl": 0.001}, "kl"), ({"ece_shift": 0.001}, "ece_shift")])
def test_every_budget_can_fail_alone(budget: dict[str, float], name: str) -> None:
    answers = drawn(4000, 400, noise=0.3)
    assert judge(answers, WIDE).verdict == "pass"
    judged = judge(answers, replace(WIDE, **budget))
    assert judged.verdict == "fail" and finding(judged, name).verdict == "fail"
    assert any(text.startswith(name) and "broken" in text for text in judged.broken)


def test_an_answer_that_is_not_finite_fails_whatever_the_budget() -> None:
    answers = drawn(2000, 0)
    answers.engine[5, 2] = np.nan
    judged = judge(answers, WIDE)
    assert judged.verdict == "fail" and judged.broken == ("1 images have outputs that are not finite",)


def test_no_finite_answer_at_all_is_a_failure_and_no_crash() -> None:
    answers = drawn(400, 0)
    answers.engine[:] = np.inf
    assert judge(answers, Budget()).verdict == "fail"


def test_a_small_class_is_reported_and_gates_only_when_named() -> None:
    answers = drawn(4000, 0)
    rare = np.where((answers.labels == 3) & (np.arange(4000) > 800), 2, answers.labels)  # 200 of d are left
    engine = answers.reference.copy()
    engine[rare == 3] = 1.6 * np.eye(4)[0]
    answers = Answers(answers.reference, engine, rare, NAMES)
    named = replace(WIDE, recall_drop=3)
    judged = judge(answers, named)
    assert [f.name for f in judged.reported] == ["recall_drop d"] and judged.verdict == "pass"
    assert judge(answers, replace(named, classes=("d",))).verdict == "fail"


def test_failures_are_corrected_for_how_many_are_asked() -> None:
    alone = judge(drawn(4000, 62, won=10), replace(WIDE, accuracy_drop=0.95))
    low, p = finding(alone, "accuracy_drop").low, finding(alone, "accuracy_drop").p
    assert low > 0.95 and p > 0.05  # outside by itself, not among seven questions
    assert finding(alone, "accuracy_drop").verdict == "inconclusive"


def certain(faces: np.ndarray) -> np.ndarray:
    """Answer every face's label with certainty."""
    return np.float32(9) * np.eye(4, dtype=np.float32)[faces[:, 0, 0, 0] % 4]


FACES = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)


def test_an_engine_that_equals_its_reference_changes_nothing() -> None:
    answers = answer_all(certain, certain, FACES, np.arange(20) % 4, NAMES)
    assert not len(answers.flips()) and answers.kl.max() == 0


def test_a_reference_that_is_not_finite_judges_nothing() -> None:
    with pytest.raises(MienError, match="finite logits from the reference"):
        answer_all(lambda faces: certain(faces) * np.nan, certain, FACES, np.arange(20) % 4, NAMES)


def test_no_faces_are_refused() -> None:
    with pytest.raises(BadInput, match="--split"):
        answer_all(certain, certain, FACES[:0], np.arange(0), NAMES)
