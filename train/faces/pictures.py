"""The pictures that scenes are made of, decoded once and grey: heads at five sizes, photographs with their faces.

Grey, because 19 of 20 head shots are: pasted into coloured photographs, their lack of colour would be all there is to
learn. Knows nothing of scenes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from runtime.camera.image_files import read_image
from runtime.errors import BadInput
from train.faces.labels import FaceLabels, FolderLabels, Part, part_of

SURE = 0.6  # of a find in a photograph: opencv_zoo's threshold. Less than this, and more than DOUBTED, is neither
SURE_OF_HEAD = 0.8  # a head shot whose face the teacher doubts is left out: 2 of 100
LEVELS = 5  # of a head's pyramid, each half the side of the one before: the last makes a 12 px face without aliasing


@dataclass(frozen=True)
class Head:
    """One head shot: its pyramid of (H, W) uint8, largest first, and its only face in the largest one's pixels."""

    levels: tuple[np.ndarray, ...]
    box: np.ndarray  # (4,) x, y, width, height
    landmarks: np.ndarray  # (5, 2)
    score: float


@dataclass(frozen=True)
class Photograph:
    """One photograph, (H, W) uint8, and every find of the teacher in it: (F, 4), (F, 5, 2), (F,)."""

    picture: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    @property
    def has_face(self) -> bool:
        """True where the teacher is sure of one."""
        return bool((self.scores >= SURE).any())


@dataclass(frozen=True)
class Pictures:
    """What one part's scenes are composed of."""

    heads: tuple[Head, ...]
    photographs: tuple[Photograph, ...]


def load_pictures(data: Path, labels: FaceLabels, part: Part, limit: int | None = None) -> Pictures:
    """Decode one part of `data/heads` and `data/scenes`; `limit` takes only the first of each.

    Raises BadInput where a picture is not the one that was labelled, or where a part holds no head or no photograph.
    """
    heads, photographs = [], []
    for index in np.flatnonzero(part_of(labels.heads.names) == part)[:limit]:
        finds = labels.heads.of(index)
        if len(finds) == 1 and labels.heads.scores[finds[0]] >= SURE_OF_HEAD:
            picture = _read(data / "heads", labels.heads, index)
            heads.append(Head(_pyramid(picture), labels.heads.boxes[finds[0]], labels.heads.landmarks[finds[0]],
                              float(labels.heads.scores[finds[0]])))
    for index in np.flatnonzero(part_of(labels.scenes.names) == part)[:limit]:
        finds = labels.scenes.of(index)
        photographs.append(Photograph(_read(data / "scenes", labels.scenes, index), labels.scenes.boxes[finds],
                                      labels.scenes.landmarks[finds], labels.scenes.scores[finds]))
    if not heads or all(len(p.scores) for p in photographs):
        raise BadInput(f"expected heads with one face and photographs without any in the {part} part of {data}, found "
                       f"{len(heads)} and {sum(not len(p.scores) for p in photographs)}; give more pictures")
    return Pictures(tuple(heads), tuple(photographs))


def _read(folder: Path, labels: FolderLabels, index: int) -> np.ndarray:
    path = folder / str(labels.names[index])
    colours = read_image(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != labels.sha256[index]:
        raise BadInput(f"expected the picture that was labelled, found another in {path}; mien faces label again")
    return cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)


def _pyramid(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    levels = [picture]
    for _ in range(LEVELS - 1):
        height, width = levels[-1].shape
        levels.append(cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA))
    return tuple(levels)
