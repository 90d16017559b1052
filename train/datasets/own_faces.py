"""Somebody's own labelled faces: one folder a class, named as the network names it; files of any name and size.

Knows nothing of who is in them, and of no split: whoever has two gives two folders.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, images_in, read_labelled_files


def classes_in(path: Path) -> tuple[str, ...]:
    """Return the names of a folder's folders, in order: the classes of somebody who has named none yet.

    Raises BadInput where there is none.
    """
    found = path.iterdir() if path.is_dir() else ()
    folders = sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise BadInput(f"expected a folder with one folder a class, found {path}; check the path")
    return tuple(folders)


def shrunk(image: np.ndarray) -> np.ndarray:
    """Return a grey or RGB image of any size as 48×48 grey: enough to count images and to find copies of one file."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA))


def load_own_faces(path: Path, label_names: tuple[str, ...], prepare: Prepare) -> LabelledFaces:
    """Read `<class>/*` as (N, …) uint8 of one shape, which `prepare` makes of RGB images; the only split is `All`.

    Damaged files, those in which `prepare` finds no face, and folders inside a class, which are not opened, stand in
    `.unreadable`. Raises BadInput for a folder that is no class, and where there is no image.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInput(f"expected a folder of the classes {', '.join(label_names)}, found {path}; check the path")
    classes = class_folders(path, label_names)
    files = [LabelledFile(file, label) for label, folder in classes for file in images_in(folder)]
    inner = [f"{folder.name}/{inside.name}/" for _, folder in classes for inside in sorted(folder.iterdir())
             if inside.is_dir() and not inside.name.startswith(".")]
    if not files:
        raise BadInput(f"expected <class>/<image> under {path}, with classes of {', '.join(label_names)}, found none; "
                       "check the path")
    return read_labelled_files(files, path, label_names, colour=True, prepare=prepare, unreadable=inner)
