"""This build against the last one, from the record that one left: any target, any device, the same images.

A record keeps each image's label, and its logits in half precision; one of before either was kept is compared by what
it has. Knows no network.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.gate.answers import Answers
from export.gate.bounds import Measured, Z, above
from export.gate.budget import Budget
from export.gate.check import Judgement, Question, ece_question, kl_question, label_questions, settle
from export.gate.packed import unpack_labels, unpack_logits
from runtime.agreement import wilson_interval
from runtime.errors import BadInput

# What a file may do that is no record, or was cut short
_NO_RECORD = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error)


@dataclass(frozen=True, eq=False)
class Baseline:
    """What an earlier build said. said: (N,) labels, -1 for no answer; None in a record of before they were kept.

    logits: (N, classes) less each row's largest, NaN for no answer, or None likewise; temperature: that build's.
    """

    name: str
    graph_sha256: str
    right: int
    images: int
    said: np.ndarray | None
    logits: np.ndarray | None = None
    temperature: float = 1.0


def read_baseline(path: Path, data_sha256: str) -> Baseline:
    """Read an earlier check's record. Raises BadInput where it is none, or is of other data."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        data, images, share = record["data"], int(record["images"]), float(record["accuracy_engine"])
        of, temperature = str(data["sha256"]), float(record.get("temperature", 1.0))
        if images < 1 or not 0 <= share <= 1 or not 0 < temperature < math.inf:
            raise ValueError(f"{images} images, an accuracy of {share} at a temperature of {temperature}")
        said = unpack_labels(record["predictions"]) if "predictions" in record else None
        logits = unpack_logits(record["logits"], images) if "logits" in record else None
        if said is not None and len(said) != images:
            raise ValueError(f"labels of {len(said)} images, not {images}")
        found = Baseline(f"{record['model']} {record['graph']} of commit {record['made_on']['commit']}",
                         str(record["sha256"]), round(share * images), images, said, logits, temperature)
        faces = f"{images} faces of {data['name']} {' + '.join(data['splits'])}"
    except _NO_RECORD as error:
        raise BadInput(f"expected a whole record of mien check in {path}, found another file ({error!r}); mien check "
                       "--record writes one") from error
    if of != data_sha256:
        raise BadInput(f"expected a baseline of the same data, {data_sha256[:12]}…, found {of[:12]}… ({faces}) in "
                       f"{path}; check the released build on this data first")
    return found


def judge_baseline(baseline: Baseline, answers: Answers, budget: Budget) -> Judgement:
    """Hold the engine against the earlier build by the same budget: paired where its labels were kept.

    Its confidence is that at its own temperature: a temperature that changed between builds is a shift. Raises BadInput
    for logits of other labels.
    """
    right = answers.right_engine
    if baseline.said is None:
        count = len(right)
        measured = unpaired_accuracy_lost(baseline.right, int(right.sum()), count)
        return Judgement(settle([Question("accuracy_drop, unpaired", "points", measured, budget.accuracy_drop, count)]),
                         (), 0)
    gated, reported = label_questions(baseline.said == answers.labels, right, baseline.said != answers.said_engine,
                                      answers.labels, answers.label_names, budget)
    if baseline.logits is not None:
        gated += _confidence_questions(baseline, baseline.logits, answers, budget)
    return Judgement(settle(gated), settle(reported), 0)


def _confidence_questions(baseline: Baseline, logits: np.ndarray, answers: Answers, budget: Budget) -> list[Question]:
    """Ask for the KL from the earlier build and the change of the calibration error, where both gave numbers."""
    if logits.shape[1] != answers.engine.shape[1]:
        raise BadInput(f"expected a baseline of {answers.engine.shape[1]} labels, found {logits.shape[1]}; check the "
                       "released build again")
    both = np.isfinite(logits).all(axis=1) & answers.finite
    if not both.any():
        return []
    before, after, labels = logits[both], answers.engine[both], answers.labels[both]
    as_sure = before * (answers.temperature / baseline.temperature)
    kl, ece = (Answers(reference, after, labels, answers.label_names, answers.temperature)
               for reference in (before, as_sure))
    return [kl_question(kl, budget), ece_question(ece, budget)]


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
