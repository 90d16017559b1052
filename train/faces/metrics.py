"""How good detections are: average precision, recall at one false face a picture, landmark error. numpy alone.

Knows nothing of detectors. A face that is ignored (hidden, doubted, or of a size reported elsewhere) is neither a hit
nor a miss, and what is found on it is neither true nor false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.faces.detector import Faces

MATCH = 0.5  # intersection over union of a hit
STRICT = 0.75
FALSE_A_PICTURE = 1.0


@dataclass(frozen=True)
class Truth:
    """One picture's faces: boxes (K, 4) x, y, width, height px, landmarks (K, 5, 2), ignored (K,) bool."""

    boxes: np.ndarray
    landmarks: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Matches:
    """All pictures' detections, best first: score and hit (D,), landmark errors of hits (H,), how many faces and
    pictures there were."""

    scores: np.ndarray
    hits: np.ndarray
    landmark_errors: np.ndarray
    faces: int
    pictures: int


def match(found: Sequence[Faces], truths: Sequence[Truth], overlap: float = MATCH,
          sizes: tuple[float, float] = (0.0, np.inf)) -> Matches:
    """Match each picture's detections with its faces, the surest first, each to the free face it overlaps most.

    sizes: only faces whose geometric mean side (px) lies in this range count; others are ignored, and so are unmatched
    detections of another size. A landmark error is the mean distance of five points over that side.
    """
    scores, hits, errors, faces = [], [], [], 0
    for picture, truth in zip(found, truths):
        side = np.sqrt(np.prod(truth.boxes[:, 2:], axis=1))
        ignored = truth.ignored | (side < sizes[0]) | (side >= sizes[1])
        faces += int((~ignored).sum())
        own = np.sqrt(np.maximum(np.prod(picture.boxes[:, 2:], axis=1), 0))
        shared = overlaps(picture.boxes, truth.boxes)
        free = np.ones(len(truth.boxes), bool)
        for i in np.argsort(-picture.scores, kind="stable"):
            near = np.where(free & ~ignored, shared[i], 0.0)
            if len(near) and near.max() >= overlap:
                chosen = int(near.argmax())
                free[chosen] = False
                scores.append(picture.scores[i])
                hits.append(True)
                if picture.landmarks is not None:
                    apart = np.linalg.norm(picture.landmarks[i] - truth.landmarks[chosen], axis=1)
                    errors.append(apart.mean() / side[chosen])
            elif not (ignored & (shared[i] >= overlap)).any() and sizes[0] <= own[i] < sizes[1]:
                scores.append(picture.scores[i])
                hits.append(False)
    order = np.argsort(-np.array(scores), kind="stable")
    return Matches(np.array(scores, np.float64)[order], np.array(hits, bool)[order], np.array(errors, np.float64),
                   faces, len(truths))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (N, 4) with others (M, 4) x, y, width, height: (N, M)."""
    meet = (np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], others[:, :2] + others[:, 2:])
            - np.maximum(boxes[:, None, :2], others[:, :2]))
    shared = np.prod(np.maximum(meet, 0), axis=2)
    union = np.prod(boxes[:, 2:], axis=1)[:, None] + np.prod(others[:, 2:], axis=1) - shared
    return shared / np.maximum(union, 1e-9)


def average_precision(matches: Matches) -> float:
    """Return the area under precision over recall, each precision being the best at that recall or more; 0–1.

    As PASCAL VOC's from 2010 on (Everingham et al. 2015, https://doi.org/10.1007/s11263-014-0733-5). 0 without faces.
    """
    if not matches.faces or not len(matches.hits):
        return 0.0
    true = np.cumsum(matches.hits)
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    return float(precision[matches.hits].sum() / matches.faces)


def recall_at(matches: Matches, false_a_picture: float = FALSE_A_PICTURE) -> tuple[float, float]:
    """Return the recall, 0–1, while at most so many detections a picture are false, and the score that takes."""
    if not matches.faces or not len(matches.hits):
        return 0.0, 1.0
    allowed = np.cumsum(~matches.hits) <= false_a_picture * matches.pictures
    return float(matches.hits[allowed].sum() / matches.faces), float(matches.scores[allowed].min(initial=1.0))


def score_detections(found: Sequence[Faces], truths: Sequence[Truth],
                     sizes: tuple[float, float] = (0.0, np.inf)) -> dict[str, float]:
    """Return every figure of one detector on one set of pictures."""
    return figures_of(match(found, truths, MATCH, sizes), match(found, truths, STRICT, sizes))


def figures_of(loose: Matches, strict: Matches) -> dict[str, float]:
    """Return every figure of the same pictures' matches at both overlaps."""
    recall, threshold = recall_at(loose)
    error = float(loose.landmark_errors.mean()) if len(loose.landmark_errors) else 1.0
    return {"ap50": average_precision(loose), "ap75": average_precision(strict), "recall_at_1_false": recall,
            "threshold_there": threshold, "landmark_error": error, "faces": float(loose.faces)}


def joined(matches: Sequence[Matches]) -> Matches:
    """Return many pictures' matches as one, as if they had been matched together."""
    scores, hits = (np.concatenate([getattr(m, name) for m in matches]) for name in ("scores", "hits"))
    order = np.argsort(-scores, kind="stable")
    return Matches(scores[order], hits[order], np.concatenate([m.landmark_errors for m in matches]),
                   sum(m.faces for m in matches), sum(m.pictures for m in matches))
