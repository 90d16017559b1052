"""`images.json`: which faces a model was calibrated on, by name and pixel hash, so that the same can be taken again.

The list's own hash covers every line of it. Knows nothing of how the faces were chosen, and holds no pixel.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.pick_images import hash_images
from runtime.errors import BadInput

SCHEMA = 1
MAX_BYTES = 64 << 20  # 28,709 names and hashes are 3 MB


@dataclass(frozen=True)
class ImageList:
    """Names and SHA-256 of the prepared faces' pixels, in order; the choice, and what it was chosen from."""

    names: tuple[str, ...]
    pixels_sha256: tuple[str, ...]
    images_sha256: str  # of all pixels in order: hash_images
    choice: str
    seed: int
    source: dict[str, Any]

    def sha256(self) -> str:
        """Return the hash of everything in the list."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def list_images(names: Sequence[str], faces: np.ndarray, choice: str, seed: int, source: dict[str, Any]) -> ImageList:
    """Return the list of prepared faces (N, C, H, W) uint8."""
    return ImageList(tuple(names), tuple(_pixel_hash(face) for face in faces), hash_images(faces), choice, seed, source)


def encode_list(images: ImageList, coverage: dict[str, Any] | None = None) -> bytes:
    """Return the file's bytes; `coverage`, the report beside the list, is not part of its hash."""
    values = {"schema": SCHEMA, "list_sha256": images.sha256(), **asdict(images)}
    return (json.dumps(values | ({"coverage": coverage} if coverage else {}), indent=1) + "\n").encode()


def read_list(path: Path) -> ImageList:
    """Read a list. Raises BadInput for a file that is none, or whose hash does not fit."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"expected a list of images, found {path}: {error.strerror}; check the path") from error
    try:
        values = json.loads(content.decode()) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        values = None
    found = _from_values(values)
    if found is None or values is None:
        raise BadInput(f"expected a list of images of schema {SCHEMA}, found something else in {path}; "
                       "mien calibrate writes one")
    if found.sha256() != values["list_sha256"]:
        raise BadInput(f"expected the list whose hash is in {path}, found one that was changed; "
                       f"{rebuild_command(found)} makes it again")
    return found


def find_images(images: ImageList, names: Sequence[str], faces: np.ndarray) -> np.ndarray:
    """Return the list's indices in a set of prepared faces (N, C, H, W) with their names.

    Raises BadInput where a face is missing or its pixels are others than those listed.
    """
    index_of = {name: index for index, name in enumerate(names)}
    missing = [name for name in images.names if name not in index_of]
    if missing:
        raise BadInput(f"expected the {len(images.names)} listed images, found {len(missing)} missing, {missing[0]} "
                       f"first; check --images, or choose again: {rebuild_command(images)}")
    picks = np.array([index_of[name] for name in images.names])
    for pick, name, wanted in zip(picks, images.names, images.pixels_sha256):
        if _pixel_hash(faces[pick]) != wanted:
            raise BadInput(f"expected the listed pixels, found others in {name}: another picture, size or crop; "
                           f"choose again: {rebuild_command(images)}")
    return picks


def rebuild_command(images: ImageList) -> str:
    """Return the command that chooses and observes the images again."""
    return (f"mien calibrate MODEL --images PATH --dataset {images.source.get('name', 'fer2013')} --choice "
            f"{images.choice} -n {len(images.names)} --seed {images.seed}")


def _from_values(values: Any) -> ImageList | None:
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        return None
    names, hashes = values.get("names"), values.get("pixels_sha256")
    texts = [values.get("images_sha256"), values.get("choice"), values.get("list_sha256")]
    if not (isinstance(names, list) and isinstance(hashes, list) and 0 < len(names) == len(hashes)
            and all(isinstance(t, str) for t in [*names, *hashes, *texts]) and len(set(names)) == len(names)
            and all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes)
            and type(values.get("seed")) is int and isinstance(values.get("source"), dict)):
        return None
    return ImageList(tuple(names), tuple(hashes), str(texts[0]), str(texts[1]), values["seed"], values["source"])


def _pixel_hash(face: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(face).data).hexdigest()
