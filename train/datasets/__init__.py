"""Labelled faces from disk, one file a data set, torch-free: each yields uint8 arrays and says what it skipped.

Here is the register of them, by the name a recipe or `mien data check` gives.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BadInput
from train.datasets import ck_plus, fer2013, rafd, rafdb, sfew
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import Prepare
from train.datasets.published import Published, differences

__all__ = ["DATASETS", "FOLDERS", "DataSet", "LabelledFaces", "SplitNames", "load_dataset", "own_splits"]


@dataclass(frozen=True)
class SplitNames:
    """What a data set's own splits are for; `choosing` is None where every image trains or is reported."""

    training: str
    choosing: str | None  # epochs and temperatures are chosen here
    reported: str


@dataclass(frozen=True)
class DataSet:
    """A loader `(path, prepare) → LabelledFaces`, its labels in order, and the counts its authors published."""

    load: Callable[..., LabelledFaces]
    labels: tuple[str, ...]
    published: Published
    parts: SplitNames | None  # None: the papers draw folds (protocols.py)
    # whether whole pictures lie in a folder, not crops of faces: of several sizes, or too large to be held as they are
    photographs: Callable[[Path], bool] = lambda path: False


DATASETS = {
    "fer2013": DataSet(fer2013.load_fer2013, fer2013.LABELS, fer2013.PUBLISHED,
                       SplitNames("Training", "PublicTest", "PrivateTest")),
    "ck-plus": DataSet(ck_plus.load_ck_plus, ck_plus.LABELS, ck_plus.PUBLISHED, None, ck_plus.holds_frames),
    "raf-db": DataSet(rafdb.load_rafdb, rafdb.LABELS, rafdb.PUBLISHED, SplitNames("train", None, "test")),
    "sfew": DataSet(sfew.load_sfew, sfew.LABELS, sfew.PUBLISHED,
                    SplitNames("Train", None, "Val"), sfew.holds_frames),
    "rafd": DataSet(rafd.load_rafd, rafd.LABELS, rafd.PUBLISHED, None, lambda path: True),
}

FOLDERS = "folders"  # somebody's own faces, one folder a class (own_faces.py): no labels, counts or splits to know


def own_splits(name: str) -> SplitNames | None:
    """Return what a data set's own splits are for; None where folds are drawn, as of somebody's own folders."""
    return DATASETS[name].parts if name in DATASETS else None


def load_dataset(name: str, path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read a data set by name; warns (UserWarning) of every count that is not as published.

    prepare: one image as read, (H, W) or (H, W, 3) RGB uint8 → the face in it, or None where there is none. Raises
    BadInput for an unknown name, or where the data set is not there.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(DATASETS)}"
        raise BadInput(f"expected a known data set, found {name!r}; {advice}")
    faces = DATASETS[name].load(path, prepare)
    said = differences(faces, DATASETS[name].published)
    if said:
        warnings.warn(f"{name} in {path} is not as published: {'; '.join(said)}", stacklevel=2)
    return faces
