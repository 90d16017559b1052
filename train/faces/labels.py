"""What a teacher found in two folders of pictures, as one `.npz` file, and which pictures are held out.

Knows neither the teacher nor how a picture is decoded. No pickle is written or opened.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.durable import replacing
from runtime.errors import BadInput

FORMAT = 1
FOLDERS = ("heads", "scenes")
Part = Literal["training", "choosing", "reported"]
REPORTED = 1 / 5  # of each folder: 800 of 4,000 heads, 100 of 500 photographs. Never trained on, never chosen on
CHOOSING = 1 / 25  # the best epoch is chosen on these


@dataclass(frozen=True)
class FolderLabels:
    """The finds in one folder's pictures: find i lies in picture `picture[i]`.

    names (P,) file names in order; sha256 (P,) of their bytes. picture (F,) int64; boxes (F, 4) float32 x, y, width,
    height and landmarks (F, 5, 2) x, y in the picture's pixels, not clipped to it; scores (F,) float32 0–1.
    """

    names: np.ndarray
    sha256: np.ndarray
    picture: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    def of(self, picture: int) -> np.ndarray:
        """Return the indices of one picture's finds."""
        return np.flatnonzero(self.picture == picture)


@dataclass(frozen=True)
class FaceLabels:
    """Both folders' finds and the SHA-256 of the graph that made them."""

    heads: FolderLabels
    scenes: FolderLabels
    teacher: str

    def sha256(self) -> str:
        """Return one hash over pictures, finds and teacher: what a run was trained on."""
        content = hashlib.sha256(self.teacher.encode())
        for array in _arrays(self).values():
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def part_of(names: np.ndarray) -> np.ndarray:
    """Return each picture's part, (P,) `training`, `choosing` or `reported`.

    Names are put in order of their SHA-256: the first fifth is reported, the next twenty-fifth chooses the epoch.
    """
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(str(names[i]).encode()).hexdigest())
    reported, choosing = round(len(names) * REPORTED), round(len(names) * CHOOSING)
    parts = np.full(len(names), "training", dtype="U8")
    parts[order[:reported]] = "reported"
    parts[order[reported : reported + choosing]] = "choosing"
    return parts


def save_labels(labels: FaceLabels, path: Path) -> None:
    """Write labels as a whole `.npz` file, or leave the old one."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, format=np.array(FORMAT), teacher=np.array(labels.teacher),
                            **_arrays(labels))  # type: ignore[arg-type]


def load_labels(path: Path) -> FaceLabels:
    """Read what `save_labels` wrote. Raises BadInput where it is something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values: dict[str, Any] = {name: file[name] for name in file.files}
        if int(values["format"]) != FORMAT:
            raise BadInput(f"expected face labels of format {FORMAT}, found {values['format']} in {path}; label again")
        folders = {folder: FolderLabels(**{f.name: values[f"{folder}_{f.name}"] for f in fields(FolderLabels)})
                   for folder in FOLDERS}
        labels = FaceLabels(folders["heads"], folders["scenes"], str(values["teacher"]))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BadInput(f"expected the labels that mien faces label writes, found {path}: {error}; label again"
                       ) from error
    for folder in FOLDERS:
        _require_whole(getattr(labels, folder), path)
    return labels


def _arrays(labels: FaceLabels) -> dict[str, np.ndarray]:
    return {f"{folder}_{f.name}": getattr(getattr(labels, folder), f.name)
            for folder in FOLDERS for f in fields(FolderLabels)}


def _require_whole(labels: FolderLabels, path: Path) -> None:
    finds, pictures = len(labels.picture), len(labels.names)
    shapes = (labels.boxes.shape, labels.landmarks.shape, labels.scores.shape, labels.sha256.shape)
    if shapes != ((finds, 4), (finds, 5, 2), (finds,), (pictures,)) or not np.isin(
            labels.picture, np.arange(pictures)).all() or not np.isfinite(labels.boxes).all():
        raise BadInput(f"expected finds of {pictures} pictures in {path}, found arrays of {shapes}; label again")
