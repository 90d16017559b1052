"""A trained detector beside its teacher: held-out composed scenes, held-out photographs, and scenes without any face.

Both see the same grey pixels. On composed scenes truth is the teacher's finds in the head shots, moved to where they
were pasted; on photographs it is the teacher's own finds at full size, so only the student is measured there. Says
nothing of faces that neither the head shots nor the teacher know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from runtime.errors import BadInput
from runtime.faces.detector import Faces
from train.faces.labels import FaceLabels
from train.faces.metrics import Truth, score_detections
from train.faces.network import FaceDetector
from train.faces.pictures import SURE, Photograph, load_pictures
from train.faces.run import load_face_network
from train.faces.task import LOWEST_SCORE, clipped, detect, fixed_scenes, truths_of
from train.faces.teacher import Teacher

SEED = 2  # of the held-out scenes; those that choose the epoch have another
SIZES = {"24 px and more": (24.0, np.inf), "12–24 px": (12.0, 24.0)}
Detect = Callable[[np.ndarray], Faces]


def evaluate_faces(checkpoint: Path, data: Path, labels: FaceLabels, teacher: Teacher, scenes: int = 240
                   ) -> dict[str, Any]:
    """Return every figure of the checkpoint and of its teacher as plain values.

    scenes: how many are composed with faces, and half as many without. Raises BadInput where labels are not the
    teacher's or not those of the run, whose held-out pictures would be others.
    """
    network, recipe, facts = load_face_network(checkpoint)
    if labels.teacher != teacher.sha256 or labels.sha256() != facts["data"]["sha256"]:
        raise BadInput(f"expected the labels and the teacher that {checkpoint} was trained with, found others; give "
                       "the run's own")
    pictures = load_pictures(data, labels, "reported")
    composed = fixed_scenes(pictures, recipe, scenes, SEED)
    empty = fixed_scenes(pictures, recipe, scenes // 2, SEED, faces=0)
    photographs = [_padded(p) for p in pictures.photographs]
    detectors: dict[str, Detect] = {"student": _student(network), "teacher": on_grey(teacher)}
    report: dict[str, Any] = {"checkpoint": facts["sha256"], "data": facts["data"], "scenes": scenes}
    for name, find in detectors.items():
        found = [find(s.picture) for s in tqdm(composed, desc=name, leave=False, disable=None)]
        truths = truths_of(composed)
        figures: dict[str, Any] = {size: score_detections(found, truths, limits) for size, limits in SIZES.items()}
        threshold = figures["24 px and more"]["threshold_there"]
        false = [int((find(s.picture).scores >= threshold).sum()) for s in empty]
        figures["false faces a scene without any"] = float(np.mean(false))
        report[name] = figures
    found = [detectors["student"](p.picture) for p in photographs]
    report["student"]["photographs, the teacher being right"] = score_detections(found, _finds(photographs))
    return report


def as_text(report: dict[str, Any]) -> list[str]:
    """Return the figures as lines for people."""
    lines = []
    for name in ("student", "teacher"):
        for what, figures in report[name].items():
            if isinstance(figures, float):
                lines.append(f"{name}: {what} {figures:.3f}")
            else:
                lines.append(f"{name}: {what}: {figures['faces']:.0f} faces, AP50 {figures['ap50']:.3f}, AP75 "
                             f"{figures['ap75']:.3f}, recall at one false a picture "
                             f"{figures['recall_at_1_false']:.3f}, landmarks off by {figures['landmark_error']:.3f} "
                             "of a side")
    return lines


def _student(network: FaceDetector) -> Detect:
    return lambda picture: detect(network, picture)


def on_grey(teacher: Teacher) -> Detect:
    """Show a teacher the grey that the student sees, in three channels."""
    def find(picture: np.ndarray) -> Faces:
        found = teacher.find(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), LOWEST_SCORE)
        return clipped(found, picture.shape[::-1])

    return find


def _padded(photograph: Photograph) -> Photograph:
    """Pad a photograph right and below with black to multiples of 32, as the runtime does."""
    height, width = photograph.picture.shape
    picture = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32), np.uint8)
    picture[:height, :width] = photograph.picture
    return Photograph(picture, photograph.boxes, photograph.landmarks, photograph.scores)


def _finds(photographs: Sequence[Photograph]) -> list[Truth]:
    """The teacher's sure finds are faces, its doubtful ones neither; boxes clipped like everybody's."""
    truths = []
    for p in photographs:
        found = clipped(Faces(p.boxes, p.landmarks, p.scores), p.picture.shape[::-1])
        truths.append(Truth(found.boxes, p.landmarks, p.scores < SURE))
    return truths
