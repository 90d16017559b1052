"""Image files whose labels are known → faces in one array. Every loader that reads folders ends here.

Knows nothing of any data set's layout, nor of how a face is cropped: a data set of whole photographs needs `prepare`,
which `runtime/preprocess.py` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces

# One image as read, (H, W) grey or (H, W, 3) RGB uint8 → the face in it, all of one shape, or None where there is none
Prepare = Callable[[np.ndarray], np.ndarray | None]

# RAF-DB, the largest set of ready crops, takes 0.46 GB; all of RaFD's photographs would take 17
MAX_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class LabelledFile:
    """One image and what its name, folder or list says of it."""

    path: Path
    label: int
    split: str = "All"
    subject: str | None = None
    pose: int | None = None


def images_in(folder: Path) -> list[Path]:
    """Return the files of one folder by name, hidden ones (`.DS_Store`, `._x.png`) and `Thumbs.db` left out."""
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".") and f.name != "Thumbs.db")


def read_labelled_files(
    files: Sequence[LabelledFile],
    root: Path,
    label_names: tuple[str, ...],
    *,
    colour: bool,
    prepare: Prepare | None = None,
    shape: tuple[int, int] | None = None,
    unreadable: Iterable[str] = (),
) -> LabelledFaces:
    """Decode files in the order given; images are (N, H, W) uint8, or (N, H, W, 3) RGB if `colour`.

    A file that is damaged, has another (height, width) than `shape`, or in which `prepare` finds no face is named in
    `.unreadable`, after those given. Raises BadInput where nothing is left, or where the images differ in shape or
    would take more than 2 GiB, which `prepare` is for.
    """
    images: np.ndarray | None = None
    good: list[LabelledFile] = []
    bad = list(unreadable)
    for file in files:
        image = decode(file.path, colour)
        if image is not None and shape is not None and image.shape[:2] != shape:
            image = None
        if image is not None and prepare is not None:
            image = prepare(image)
        if image is None:
            bad.append(_name(file.path, root))
            continue
        if images is None:
            images = _room_for(len(files), image, root)
        if image.shape != images.shape[1:]:
            raise BadInput(f"expected faces of one size, found {images.shape[1:]} and {image.shape} "
                           f"({_name(file.path, root)}); give a crop to one size")
        images[len(good)] = image
        good.append(file)
    if images is None:
        raise BadInput(f"expected faces under {root}, found {len(bad)} unreadable files; check that they are "
                       "images, or fetch the data again")
    return LabelledFaces(
        images=images[: len(good)],
        labels=np.array([f.label for f in good], dtype=np.int64),
        splits=np.array([f.split for f in good]),
        names=[_name(f.path, root) for f in good],
        label_names=label_names,
        unreadable=tuple(bad),
        subjects=np.array([f.subject for f in good]) if all(f.subject is not None for f in good) else None,
        poses=np.array([f.pose for f in good], np.int64) if all(f.pose is not None for f in good) else None,
    )


def decode(path: Path, colour: bool) -> np.ndarray | None:
    """Decode one image to (H, W) grey or (H, W, 3) RGB uint8, or return None where the file is damaged."""
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError:
        return None
    if not len(content):
        return None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image is not None and colour else image


def _room_for(count: int, image: np.ndarray, root: Path) -> np.ndarray:
    """Make the array once: a list of images and its stack would take the memory twice."""
    if count * image.nbytes > MAX_BYTES:
        raise BadInput(f"expected at most {MAX_BYTES >> 30} GiB of faces, found {count} images of {image.shape[0]}×"
                       f"{image.shape[1]} in {root}; give a crop that makes them smaller")
    return np.empty((count, *image.shape), dtype=np.uint8)


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root))
