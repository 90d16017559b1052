"""Somebody's own labelled faces: one folder a class, named as the network names it; files of any name and size.

Knows nothing of who is in them, and of no split: whoever has two gives two folders.
"""

from __future__ import annotations

from pathlib import Path

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, images_in, read_labelled_files


def load_own_faces(path: Path, label_names: tuple[str, ...], prepare: Prepare) -> LabelledFaces:
    """Read `<class>/*` as (N, …) uint8 of one shape, which `prepare` makes of RGB images; the only split is `All`.

    Damaged files, and those in which `prepare` finds no face, stand in `.unreadable`. Raises BadInput for a folder that
    is no class, and where there is no image.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInput(f"expected a folder of the classes {', '.join(label_names)}, found {path}; check the path")
    files = [LabelledFile(file, label) for label, folder in class_folders(path, label_names)
             for file in images_in(folder)]
    if not files:
        raise BadInput(f"expected <class>/<image> under {path}, with classes of {', '.join(label_names)}, found none; "
                       "check the path")
    return read_labelled_files(files, path, label_names, colour=True, prepare=prepare)
