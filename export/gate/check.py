"""Answers and a budget → one finding a question, and a verdict of three: pass, fail or inconclusive.

A budget holds when the whole one-sided 95 % interval lies inside it, and is broken when the figure is outside by more
than chance, Holm-corrected over the questions. Otherwise more images are asked for. Knows no file and no data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from export.gate.answers import Answers
from export.gate.bounds import ALPHA, Measured, accuracy_lost, count_changed, mean_of, share_changed, size_of
from export.gate.budget import FEWEST_OF_A_CLASS, Budget
from runtime.engines.face_batches import Logits, run_all
from runtime.errors import DONE, FAILED, INCONCLUSIVE, BadInput, MienError
from runtime.paired_counts import holm

Verdict = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Verdict, int] = {"pass": DONE, "fail": FAILED, "inconclusive": INCONCLUSIVE}
MOST_TIMES = 1000.0  # the images at hand; who needs more of them needs another budget


@dataclass(frozen=True)
class Finding:
    """One question's answer. Larger is worse; `low` and `high` are one-sided 95 % bounds in `unit`.

    p: that the budget is broken by chance, Holm-adjusted. more_images: how many more would decide if the rates stay as
    they are; None where it is decided, or where none would.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    limit: float
    p: float
    verdict: Verdict
    more_images: int | None = None

    @property
    def text(self) -> str:
        """Return the finding in words."""
        more = ("the figure lies on its limit and more images would not tell" if self.more_images is None else
                f"{self.more_images:,} more images would tell")
        end = {"pass": "", "fail": ": broken", "inconclusive": f": undecided, {more}"}[self.verdict]
        return (f"{self.name} {number(self.value)} ({number(self.low)} to {number(self.high)}) {self.unit}, "
                f"{number(self.limit)} allowed{end}")


@dataclass(frozen=True)
class Judgement:
    """Every question's finding; classes too small to gate are in `reported`, whose verdicts count for nothing."""

    findings: tuple[Finding, ...]
    reported: tuple[Finding, ...]
    non_finite: int

    @property
    def verdict(self) -> Verdict:
        """Fail where one fails or an answer is not finite, else inconclusive where one is, else pass."""
        given = {finding.verdict for finding in self.findings}
        if self.non_finite or "fail" in given:
            return "fail"
        return "inconclusive" if "inconclusive" in given else "pass"

    @property
    def broken(self) -> tuple[str, ...]:
        """Every reason for a failure, in words."""
        first = (f"{self.non_finite} images have outputs that are not finite",) if self.non_finite else ()
        return first + tuple(f.text for f in self.findings if f.verdict == "fail")

    @property
    def more_images(self) -> int | None:
        """How many more images would decide every question; None where all are decided or one never would be."""
        open_ones = [f.more_images for f in self.findings if f.verdict == "inconclusive"]
        return max((n for n in open_ones if n is not None), default=None) if None not in open_ones else None


@dataclass(frozen=True)
class Question:
    """A measured figure and the most it may be; `images` are all that were looked at to get it."""

    name: str
    unit: str
    measured: Measured
    limit: float
    images: int


def answer_all(reference: Logits, engine: Logits, faces: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...],
               temperature: float = 1.0) -> Answers:
    """Run both over labelled faces (N, C, H, W) uint8.

    Raises BadInput for none, and MienError for a reference whose answers are not finite.
    """
    if not len(faces):
        raise BadInput("expected labelled faces to check on, found none; check --data and --split")
    wanted = require_finite(run_all(reference, faces, "reference"), "the reference")
    return Answers(wanted, run_all(engine, faces, "engine"), labels, label_names, temperature)


def require_finite(logits: np.ndarray, name: str) -> np.ndarray:
    """Return logits that others may be held against. Raises MienError for NaN and infinity."""
    if not np.isfinite(logits).all():
        raise MienError(f"expected finite logits from {name}, found NaN or infinity; nothing was judged: export the "
                        "model again")
    return logits


def judge(answers: Answers, budget: Budget) -> Judgement:
    """Hold answers against a budget."""
    gated, reported = label_questions(answers.right_reference, answers.right_engine,
                                      answers.said_reference != answers.said_engine, answers.labels,
                                      answers.label_names, budget)
    if answers.finite.any():
        gated += [kl_question(answers, budget), ece_question(answers, budget)]
    return Judgement(settle(gated), settle(reported), int((~answers.finite).sum()))


def kl_question(answers: Answers, budget: Budget) -> Question:
    """Return the question of the mean KL from the reference; there must be a finite answer."""
    return Question("kl", "nats", mean_of(answers.kl), budget.kl, len(answers.labels))


def ece_question(answers: Answers, budget: Budget) -> Question:
    """Return the question of the calibration error's change, either way; there must be a finite answer."""
    shift = 100 * answers.calibration_shift
    return Question("ece_shift", "points", size_of(mean_of(shift), mean_of(-shift)), 100 * budget.ece_shift,
                    len(answers.labels))


def label_questions(right_before: np.ndarray, right_after: np.ndarray, changed: np.ndarray, labels: np.ndarray,
                    label_names: tuple[str, ...], budget: Budget) -> tuple[list[Question], list[Question]]:
    """Return what labels alone answer, (N,) arrays all: the questions that gate, and the small classes' that do not."""
    count = len(labels)
    may_change = round(100 * (1 - budget.agreement), 9)
    gated = [Question("accuracy_drop", "points", accuracy_lost(right_before, right_after), budget.accuracy_drop, count),
             Question("labels_changed", "%", (share_changed if may_change else count_changed)(changed), may_change,
                      count)]
    reported: list[Question] = []
    for index, name in enumerate(label_names):
        held = labels == index
        if held.any():
            asked = Question(f"recall_drop {name}", "points", accuracy_lost(right_before[held], right_after[held]),
                             budget.recall_drop, count)
            gates = held.sum() >= FEWEST_OF_A_CLASS or name in budget.classes
            (gated if gates else reported).append(asked)
    return gated, reported


def settle(questions: list[Question], plan: bool = True) -> tuple[Finding, ...]:
    """Return a finding a question; failures are corrected for how many are asked. plan: say how many more images."""
    findings = []
    chances = holm([q.measured.chance(q.limit) for q in questions])
    for q, p in zip(questions, chances):
        low, high = q.measured.bounds(1.0)
        verdict: Verdict = "pass" if high <= q.limit else "fail" if p <= ALPHA else "inconclusive"
        more = _more_images(q, len(questions)) if plan and verdict == "inconclusive" else None
        findings.append(Finding(q.name, q.unit, q.measured.value, low, high, q.limit, p, verdict, more))
    return tuple(findings)


def _more_images(question: Question, asked: int) -> int | None:
    """Return how many more images at the same rates would put the interval on one side of the limit."""
    slack = math.sqrt(math.log(20 * asked) / math.log(20))  # Holm's first step asks more of a failure, about so much

    def decided(scale: float) -> bool:
        low, high = question.measured.bounds(scale)
        above = question.measured.value - slack * (question.measured.value - low)
        return bool(high <= question.limit or above > question.limit)

    return _search(decided, question.images)


def _search(decided: Callable[[float], bool], images: int) -> int | None:
    """Return the fewest images beyond those at hand for which `decided` holds, to one in a hundred."""
    scale = 1.0
    while not decided(scale):
        scale *= 1.01
        if scale > MOST_TIMES:
            return None
    return max(1, math.ceil(images * (scale - 1)))


def number(value: float) -> str:
    """Return a figure short enough for a sentence."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
