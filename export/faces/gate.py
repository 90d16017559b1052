"""The detector's gate: one graph's detections against PyTorch's on the same pictures, within a budget.

Average precision at IoU 0.5 and 0.75, recall at one false face a picture, landmark error; and how many of the
reference's faces the graph finds too. The intervals are of pictures drawn again with their pairs (a paired bootstrap,
Efron 1979). Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.faces.detector import Faces
from train.faces.metrics import MATCH, STRICT, Matches, Truth, figures_of, joined, match, overlaps

DRAWS = 400
SAME = 0.75  # intersection over union of one face found by both


@dataclass(frozen=True)
class FaceBudget:
    """What a graph may lose: AP in points (hundredths), recall in points, landmarks in hundredths of a face's side."""

    ap50: float = 1.0
    ap75: float = 2.0
    recall_at_1_false: float = 1.0
    landmark_error: float = 1.0


@dataclass(frozen=True)
class FaceVerdict:
    """Both detectors' figures, each loss with its paired 95 % interval in points, shared faces, and what broke."""

    reference: dict[str, float]
    engine: dict[str, float]
    losses: dict[str, dict[str, float]]
    same_faces: float
    broken: tuple[str, ...]
    inconclusive: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True where every loss, with its whole interval, is within budget."""
        return not self.broken and not self.inconclusive


def check_detections(reference: Sequence[Faces], engine: Sequence[Faces], truths: Sequence[Truth], budget: FaceBudget,
                     threshold: float, draws: int = DRAWS) -> FaceVerdict:
    """Compare two detectors' finds, one Faces a picture. threshold: the score from which a face is one, 0–1."""
    pairs = _matched(reference, truths), _matched(engine, truths)
    everything = np.arange(len(truths))
    both = [_figures(each, everything) for each in pairs]
    random = np.random.default_rng(0)
    drawn = [[_figures(each, picks) for each in pairs]
             for picks in random.integers(0, len(truths), (draws, len(truths)))]
    losses: dict[str, dict[str, float]] = {}
    broken, inconclusive = [], []
    for name, allowed in vars(budget).items():
        sign = 100.0 if name == "landmark_error" else -100.0
        loss, spread = sign * (both[1][name] - both[0][name]) + 0.0, [sign * (e[name] - r[name]) for r, e in drawn]
        low, high = (float(v) + 0.0 for v in np.percentile(spread, (2.5, 97.5)))
        losses[name] = {"points": loss, "low": low, "high": high, "allowed": allowed}
        said = f"{name} is worse by {loss:.2f} points ({low:.2f} to {high:.2f}), {allowed:.2f} are allowed"
        if not low <= allowed:
            broken.append(said)
        elif not high <= allowed:
            inconclusive.append(said)
    return FaceVerdict(both[0], both[1], losses, _same_faces(reference, engine, threshold), tuple(broken),
                       tuple(inconclusive))


def _matched(found: Sequence[Faces], truths: Sequence[Truth]) -> list[tuple[Matches, Matches]]:
    """Match each picture once, loosely and strictly: drawing pictures again then costs no matching."""
    return [(match([f], [t], MATCH), match([f], [t], STRICT)) for f, t in zip(found, truths)]


def _figures(matched: Sequence[tuple[Matches, Matches]], picks: np.ndarray) -> dict[str, float]:
    return figures_of(*(joined([matched[i][which] for i in picks]) for which in (0, 1)))


def _same_faces(reference: Sequence[Faces], engine: Sequence[Faces], threshold: float) -> float:
    """Return the share of the reference's faces that the engine finds too, 0–1; 1 where there is none."""
    same = total = 0
    for wanted, found in zip(reference, engine):
        boxes = wanted.boxes[wanted.scores >= threshold]
        others = found.boxes[found.scores >= threshold]
        total += len(boxes)
        same += int((overlaps(boxes, others).max(axis=1, initial=0) >= SAME).sum())
    return same / total if total else 1.0


def detections(find: Callable[[np.ndarray], Faces], pictures: Sequence[np.ndarray]) -> list[Faces]:
    """Return what a detector finds in each picture."""
    return [find(picture) for picture in pictures]


def verdict_facts(verdict: FaceVerdict) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {"passed": verdict.passed, **vars(verdict)}
