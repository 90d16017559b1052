"""The faces one may calibrate on, prepared as a model's card says: a data set's training split, or a folder of crops.

Knows nothing of how they are chosen or what is done with them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.camera.image_files import images_in, read_image
from runtime.command_line import say
from runtime.errors import BadInput
from runtime.preprocess import FaceInput, prepare_face, prepare_faces
from train.datasets import DATASETS

CROPS = "crops"  # the --dataset of a folder of face crops, as a stream records them


@dataclass(frozen=True)
class FacePool:
    """Prepared faces (N, C, H, W) uint8 with their names and, in a data set, labels (N,); `source` says where from."""

    faces: np.ndarray
    names: list[str]
    source: dict[str, Any]
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = field(default=())


def load_pool(path: Path, dataset: str, how: FaceInput) -> FacePool:
    """Read a data set's training split (all of it where it has no splits), or every image of a folder of crops.

    A damaged crop is named and left out. Raises BadInput.
    """
    if dataset == CROPS:
        return _load_crops(path, how)
    everything = DATASETS[dataset].load(path)  # any part of a data set serves: its published counts do not matter
    parts = DATASETS[dataset].parts
    faces = everything.split(parts.training) if parts else everything
    if not len(faces):
        raise BadInput(f"expected training faces in {path}, found none; is this {dataset}?")
    pictures = faces.images if faces.images.ndim == 3 else faces.images[..., ::-1]  # data sets are RGB, crops BGR
    source = {"name": dataset, "split": parts.training if parts else "all", "sha256": everything.sha256()}
    return FacePool(prepare_faces(pictures, how), list(faces.names), source, faces.labels, faces.label_names)


def _load_crops(folder: Path, how: FaceInput) -> FacePool:
    faces, names = [], []
    paths = _crops_in(folder)
    for path in paths:
        try:
            faces.append(prepare_face(read_image(path), how))
        except BadInput as error:
            say(f"{error} (left out)")
            continue
        names.append(str(path.relative_to(folder)))
    if not faces:
        raise BadInput(f"expected face crops in {folder}, found all {len(paths)} images damaged; copy them again")
    stacked = np.stack(faces)
    digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape"))
    digest.update(stacked.data)
    return FacePool(stacked, names, {"name": CROPS, "split": "all", "sha256": digest.hexdigest()})


def _crops_in(folder: Path) -> list[Path]:
    """Return a folder's images; where it holds only folders, one a class perhaps, the images of those that have any."""
    try:
        return images_in(folder)
    except BadInput:
        below = sorted(place for place in folder.glob("*/") if not place.name.startswith("."))
        if not below:
            raise
    paths: list[Path] = []
    for place in below:
        try:
            paths += images_in(place)
        except BadInput as error:
            say(f"{error} (left out)")
    if not paths:
        raise BadInput(f"expected face crops in the folders of {folder}, found none; check --images")
    return paths
