"""Run an engine and its reference over the same faces and hold the difference against a budget.

Knows nothing of data sets: uint8 faces and labels come in. Statistics that say how sure a verdict is are not here yet.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runtime.agreement import Comparison, compare
from runtime.engines.face_batches import Logits, run_all
from runtime.errors import BadInput, MienError


@dataclass(frozen=True)
class Budget:
    """How much a compiled form may cost. The defaults are what issue trackers call 'the same model'."""

    accuracy_drop: float = 1.0  # points of 100
    agreement: float = 0.95  # share of images with the same label as the reference
    mean_kl: float = 0.05  # nats

    def __post_init__(self) -> None:
        if not (0 <= self.accuracy_drop <= 100 and 0 <= self.agreement <= 1 and self.mean_kl >= 0):
            raise BadInput("expected an accuracy drop of 0–100 points, an agreement of 0–1 and a KL of at least 0, "
                           f"found {self.accuracy_drop}, {self.agreement} and {self.mean_kl}")


@dataclass(frozen=True)
class Verdict:
    """What was measured, and each budget that was broken, in words."""

    comparison: Comparison
    broken: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True when every budget holds."""
        return not self.broken

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"passed": self.passed, "broken": list(self.broken), "accuracy_drop": self.comparison.accuracy_drop,
                **asdict(self.comparison)}


def check(reference: Logits, engine: Logits, faces: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...],
          budget: Budget) -> Verdict:
    """Compare an engine with its reference on labelled faces (N, C, H, W) uint8.

    Raises BadInput for none, and MienError for a reference whose answers are not finite.
    """
    if not len(faces):
        raise BadInput("expected labelled faces to check on, found none; check --data and --split")
    wanted = run_all(reference, faces, "reference")
    if not np.isfinite(wanted).all():
        raise MienError("expected finite logits from the reference, found NaN or infinity; nothing was judged: "
                        "export the model again")
    found = compare(wanted, run_all(engine, faces, "engine"), labels, label_names)
    return Verdict(found, judge(found, budget))


def judge(found: Comparison, budget: Budget) -> tuple[str, ...]:
    """Return every broken budget, in words."""
    broken = []  # each budget is asked `not within`, so that NaN breaks it
    if found.non_finite:
        broken.append(f"{found.non_finite} images have outputs that are not finite")
    if not found.accuracy_drop <= budget.accuracy_drop:
        broken.append(f"accuracy falls by {found.accuracy_drop:.2f} points, {budget.accuracy_drop:.2f} are allowed")
    if not found.agreement >= budget.agreement:
        broken.append(f"{found.agreement:.2%} of labels agree, {budget.agreement:.2%} are asked for")
    if not found.mean_kl <= budget.mean_kl:
        broken.append(f"mean KL is {found.mean_kl:.4f} nats, {budget.mean_kl:.4f} are allowed")
    return tuple(broken)
