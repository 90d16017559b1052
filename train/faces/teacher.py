"""Pictures → what a trained detector finds in them, at full resolution: labels where nobody has drawn any.

Its scores stay, so that the student learns how sure the teacher was (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531). Whatever the teacher misses, the student is taught to miss.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from runtime.camera.image_files import ImageFiles, read_image
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel
from runtime.faces.anchor_free import HEADS, decode
from runtime.faces.detector import Faces
from runtime.onnx_weights import refuse_unsafe
from train.faces.labels import FaceLabels, FolderLabels

DOUBTED = 0.3  # finds below it are left out: most are no faces. What lies between it and a face counts as neither


class Teacher:
    """A YuNet graph of free input size, without the shrinking and the clipping that a stream wants."""

    def __init__(self, path: Path, threads: int = 0):
        """Open the graph. Raises BadInput, BadModel."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"expected a YuNet ONNX file, found {path}: {error.strerror}; check --teacher") from error
        refuse_unsafe(content, str(path))
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._engine = OnnxRuntimeEngine(content, str(path), "fp32", threads)
        if not set(HEADS) <= {o.name for o in self._engine.outputs} or None not in self._engine.inputs[0].shape[2:]:
            raise BadModel(f"expected a YuNet graph of free input size, found another in {path}; "
                           "give yunet_n_dynamic.onnx")
        self._input = self._engine.inputs[0].name

    def find(self, picture: np.ndarray, threshold: float = DOUBTED) -> Faces:
        """Find every face of a picture (H, W, 3) BGR uint8 at its own size; nothing is clipped or dropped."""
        height, width = picture.shape[:2]
        padded = (-(-width // 32) * 32, -(-height // 32) * 32)
        tensor = np.zeros((1, 3, padded[1], padded[0]), np.float32)
        tensor[0, :, :height, :width] = picture.transpose(2, 0, 1)
        return decode(self._engine.run({self._input: tensor}), padded, threshold)


def label(data: Path, teacher: Teacher) -> FaceLabels:
    """Label `data/heads` and `data/scenes`. Raises BadInput where a folder or a picture cannot be read."""
    return FaceLabels(label_folder(data / "heads", teacher), label_folder(data / "scenes", teacher), teacher.sha256)


def label_folder(folder: Path, teacher: Teacher) -> FolderLabels:
    """Label the pictures of one folder, in order of their names."""
    names = pictures_in(folder)
    finds, picture, hashes = [], [], []
    for index, name in enumerate(tqdm(names, desc=folder.name, leave=False, disable=None, unit="pictures")):
        found = teacher.find(read_image(folder / name))
        finds.append(found)
        picture += [index] * len(found)
        hashes.append(hashlib.sha256((folder / name).read_bytes()).hexdigest())
    return FolderLabels(
        names=np.array(names), sha256=np.array(hashes), picture=np.array(picture, np.int64),
        boxes=np.concatenate([f.boxes for f in finds]).astype(np.float32),
        landmarks=_landmarks(finds).astype(np.float32),
        scores=np.concatenate([f.scores for f in finds]).astype(np.float32))


def pictures_in(folder: Path) -> list[str]:
    """Return the names of a folder's pictures in order. Raises BadInput where there is none."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if Path(e.name).suffix.lower() in ImageFiles.SUFFIXES)
    except OSError as error:
        raise BadInput(f"expected a folder of pictures, found {folder}: {error.strerror}; check --data") from error
    if not names:
        raise BadInput(f"expected pictures ({' '.join(ImageFiles.SUFFIXES)}) in {folder}, found none; check --data")
    return names


def _landmarks(finds: Sequence[Faces]) -> np.ndarray:
    return np.concatenate([f.landmarks for f in finds if f.landmarks is not None])
