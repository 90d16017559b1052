"""This build against the last one, from the record that one left: any target, any device, the same images.

Compared by labels alone, for a record keeps each image's label and not its logits. Knows no network.
"""

from __future__ import annotations

import json
import math
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.gate.answers import NO_ANSWER, Answers
from export.gate.bounds import Measured, Z, above
from export.gate.budget import Budget
from export.gate.check import Judgement, Question, label_questions, settle
from runtime.agreement import wilson_interval
from runtime.errors import BadInput

_DIGITS = string.digits + string.ascii_lowercase  # one sign an image: FER2013's test split is 3 KB
_NONE = "-"


@dataclass(frozen=True)
class Baseline:
    """What an earlier build said. said: (N,) labels, -1 for no answer; None in a record of before they were kept."""

    name: str
    graph_sha256: str
    right: int
    images: int
    said: np.ndarray | None


def pack_labels(said: np.ndarray) -> str:
    """Return (N,) labels below 36 as one sign each, - for no answer."""
    return "".join(_NONE if label == NO_ANSWER else _DIGITS[label] for label in said.tolist())


def unpack_labels(text: str) -> np.ndarray:
    """Return what `pack_labels` packed, (N,) int64. Raises ValueError for another sign."""
    return np.array([NO_ANSWER if sign == _NONE else _DIGITS.index(sign) for sign in text], dtype=np.int64)


def read_baseline(path: Path, data_sha256: str) -> Baseline:
    """Read an earlier check's record. Raises BadInput where it is none, or is of other data."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        of, images = record["data"]["sha256"], int(record["images"])
        said = unpack_labels(record["predictions"]) if "predictions" in record else None
        found = Baseline(f"{record['model']} {record['graph']} of commit {record['made_on']['commit']}",
                         record["sha256"], round(record["accuracy_engine"] * images), images, said)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"expected a record of mien check in {path}, found another file ({error}); mien check --record "
                       "writes one") from error
    if of != data_sha256 or (said is not None and len(said) != images):
        raise BadInput(f"expected a baseline of the same data, {data_sha256[:12]}…, found {of[:12]}… in {path}; check "
                       "the released build on this data first")
    return found


def judge_baseline(baseline: Baseline, answers: Answers, budget: Budget) -> Judgement:
    """Hold the engine against the earlier build by the same budget: paired where its labels were kept."""
    right = answers.right_engine
    if baseline.said is None:
        count = len(right)
        measured = unpaired_accuracy_lost(baseline.right, int(right.sum()), count)
        return Judgement(settle([Question("accuracy_drop, unpaired", "points", measured, budget.accuracy_drop, count)]),
                         (), 0)
    gated, reported = label_questions(baseline.said == answers.labels, right, baseline.said != answers.said_engine,
                                      answers.labels, answers.label_names, budget)
    return Judgement(settle(gated), settle(reported), 0)


def unpaired_accuracy_lost(right_before: int, right_after: int, count: int) -> Measured:
    """Return the points lost where nobody knows which images: Newcombe's interval of two independent shares.

    Newcombe 1998, method 10, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I: too
    wide for the same images, so it errs on the side of *inconclusive*.
    """
    before, after = right_before / count, right_after / count

    def bounds(scale: float) -> tuple[float, float]:
        (low_before, high_before), (low_after, high_after) = (
            wilson_interval(scale * right, scale * count, Z) for right in (right_before, right_after))
        lost = before - after
        return (100 * (lost - math.hypot(before - low_before, high_after - after)),
                100 * (lost + math.hypot(high_before - before, after - low_after)))

    def chance(limit: float) -> float:
        spread = math.sqrt((before * (1 - before) + after * (1 - after)) / count)
        departure = before - after - limit / 100
        return above(departure / spread) if spread else float(departure <= 0)

    return Measured(100 * (before - after), bounds, chance)
