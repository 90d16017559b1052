"""What detectors are judged on: composed scenes and photographs that no training saw, as grey pictures with truths.

One part of the pictures chooses (thresholds, what stays float), another is only reported. Knows no detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.faces.detector import Faces
from runtime.faces.letterbox import letterbox
from train.faces.labels import FaceLabels
from train.faces.metrics import Truth
from train.faces.pictures import SURE, Photograph, load_pictures
from train.faces.recipe import FaceRecipe
from train.faces.task import SCENE_SIZE, clipped, fixed_scenes, truths_of

SEEDS = {"training": 3, "choosing": 1, "reported": 2}


@dataclass(frozen=True)
class HeldOut:
    """Pictures (H, W) uint8 of one size with what should be found in them, and pictures without any face."""

    composed: list[np.ndarray]
    composed_truths: list[Truth]
    empty: list[np.ndarray]
    photographs: list[np.ndarray]
    photograph_truths: list[Truth]


def load_held_out(data: Path, labels: FaceLabels, recipe: FaceRecipe, part: Literal["choosing", "reported"],
                  scenes: int) -> HeldOut:
    """Compose `scenes` pictures with faces and half as many without, and fit the part's photographs into their size.

    Truth in a photograph is the teacher's find at full resolution. Raises BadInput.
    """
    pictures = load_pictures(data, labels, part)
    composed = fixed_scenes(pictures, recipe, scenes, SEEDS[part])
    empty = fixed_scenes(pictures, recipe, scenes // 2, SEEDS[part], faces=0)
    fitted = [_fitted(p) for p in pictures.photographs]
    return HeldOut([s.picture for s in composed], truths_of(composed), [s.picture for s in empty],
                   [picture for picture, _ in fitted], [truth for _, truth in fitted])


def calibration_scenes(data: Path, labels: FaceLabels, recipe: FaceRecipe, count: int) -> np.ndarray:
    """Compose `count` scenes of the training part's pictures, (count, 1, H, W) uint8. Raises BadInput."""
    pictures = load_pictures(data, labels, "training")
    return np.stack([s.picture for s in fixed_scenes(pictures, recipe, count, SEEDS["training"])])[:, None]


def _fitted(photograph: Photograph) -> tuple[np.ndarray, Truth]:
    """Fit a photograph into a camera's frame; the teacher's doubtful finds count neither way."""
    picture, scale = letterbox(photograph.picture, SCENE_SIZE, 0)
    boxes, landmarks = photograph.boxes * np.float32(scale), photograph.landmarks * np.float32(scale)
    inside = (round(photograph.picture.shape[1] * scale), round(photograph.picture.shape[0] * scale))
    found = clipped(Faces(boxes, landmarks, photograph.scores), inside)
    return picture, Truth(found.boxes, landmarks, photograph.scores < SURE)
