"""FER2013 (Goodfellow et al. 2013) in both forms people have: Kaggle's image folder and `fer2013.csv`.

35,887 grey 48×48 faces in seven classes. The folder is `{train,test}/<class>/{Training,PublicTest,PrivateTest}_N.png`;
the file names carry the canonical split, which Kaggle's own two folders hide.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import Prepare

# The order of the labels 0–6 in fer2013.csv, which every published FER2013 network uses.
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SPLITS = ("Training", "PublicTest", "PrivateTest")
PUBLISHED = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}
SIZE = 48

_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_(\d+)\.(png|jpg|jpeg)", re.IGNORECASE)
_FOLDER_SPLIT = {"train": "Training", "test": "Test"}

# One face as read: pixels (48, 48) uint8 or None where damaged; label; split; number in the set; name
_Row = tuple[np.ndarray | None, int, str, int, str]


def load_fer2013(path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read FER2013 from a folder or a CSV file into one uint8 array, ordered by split and number.

    prepare: changes each 48×48 grey face (equalization, another size), if given. Damaged images are named in
    `.unreadable`, never skipped in silence. Raises BadInput when there is no FER2013.
    """
    path = Path(path)
    if path.is_dir() and (path / "fer2013.csv").is_file():
        path = path / "fer2013.csv"
    if path.is_dir():
        rows = list(_read_folder(path))
    elif path.suffix.lower() == ".csv" and path.is_file():
        rows = list(_read_csv(path))
    else:
        raise BadInput(f"expected fer2013.csv or a folder with train/ and test/, found {path}; check the path")
    if not rows:
        raise BadInput(f"expected train/<class>/*.png under {path}, found no image; is this the FER2013 folder?")
    order = {split: i for i, split in enumerate((*SPLITS, "Test"))}
    rows.sort(key=lambda row: (order[row[2]], row[3], row[4]))
    if prepare is not None:
        rows = [(None if row[0] is None else prepare(row[0]), *row[1:]) for row in rows]
    good = [row for row in rows if row[0] is not None]
    if not good:
        raise BadInput(f"expected 48×48 grey faces in {path}, found {len(rows)} damaged ones; fetch the data again")
    return LabelledFaces(
        images=np.stack([row[0] for row in good if row[0] is not None]),
        labels=np.array([row[1] for row in good], dtype=np.int64),
        splits=np.array([row[2] for row in good]),
        names=[row[4] for row in good],
        label_names=LABELS,
        unreadable=tuple(row[4] for row in rows if row[0] is None),
    )


def is_half(path: Path) -> bool:
    """Is a folder FER2013's own train/ or test/, by the folder beside it and its files' names, not the whole set?"""
    path = path.resolve()
    if path.name.lower() not in _FOLDER_SPLIT or not path.is_dir():
        return False
    beside = {folder.name.lower() for folder in path.parent.iterdir() if folder.is_dir()}
    return set(_FOLDER_SPLIT) <= beside and any(_NAME.fullmatch(file.name) for file in path.glob("*/*"))


def _read_folder(root: Path) -> Iterator[_Row]:
    """Walk `{train,test}/<class>/`; a file named otherwise than Kaggle's counts to its folder's split."""
    folders = [folder for folder in root.iterdir() if folder.is_dir() and folder.name[0] != "."]
    known = {folder.name.lower(): folder for folder in folders}
    if len(known) < len(folders):  # Train beside train
        raise BadInput(f"expected each folder once in {root}, found {', '.join(sorted(f.name for f in folders))}; they "
                       "differ in capitals only: put them together")
    strangers = sorted(set(known) - set(_FOLDER_SPLIT))
    if strangers:  # their images would otherwise be lost in silence
        raise BadInput(f"expected the folders train and test in {root}, found {known[strangers[0]].name}; take it away")
    for folder, split in _FOLDER_SPLIT.items():
        for label, label_folder in class_folders(known[folder], LABELS) if folder in known else ():
            for file in sorted(label_folder.glob("*")):
                if file.name.startswith("."):
                    continue
                named = _NAME.fullmatch(file.name)
                true_split = next(s for s in SPLITS if s.lower() == named[1].lower()) if named else split
                number = int(named[2]) if named else 0
                yield _decode(file), label, true_split, number, str(file.relative_to(root))


def _decode(file: Path) -> np.ndarray | None:
    """Decode one 48×48 face, or return None where the file is damaged or of another size."""
    try:
        content = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    except OSError:
        return None
    if not len(content):
        return None
    image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    return image if image is not None and image.shape == (SIZE, SIZE) else None


def _read_csv(file: Path) -> Iterator[_Row]:
    """Read `emotion,pixels,Usage` rows; a row with a wrong label, split or pixel count is damaged."""
    try:
        yield from _read_rows(file)
    except (OSError, csv.Error) as error:
        raise BadInput(f"expected a readable fer2013.csv, found {file}: {error}; fetch the data again") from error


def _read_rows(file: Path) -> Iterator[_Row]:
    with open(file, newline="", encoding="utf-8-sig", errors="replace") as lines:
        reader = csv.DictReader(lines)
        if not {"emotion", "pixels", "Usage"} <= set(reader.fieldnames or ()):
            raise BadInput(f"expected the columns emotion,pixels,Usage in {file}, found {reader.fieldnames}")
        for number, row in enumerate(reader):
            name = f"{file.name}:{number + 2}"
            usage, emotion = (row["Usage"] or "").strip(), (row["emotion"] or "").strip()
            known = usage in SPLITS and emotion in tuple("0123456")
            image = _pixels(row["pixels"] or "") if known else None
            yield image, int(emotion) if known else 0, usage if known else "Training", number, name


def _pixels(text: str) -> np.ndarray | None:
    """Parse 2,304 numbers of 0–255, or return None."""
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    if values.shape != (SIZE * SIZE,) or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(SIZE, SIZE)
