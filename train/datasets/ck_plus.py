"""CK+ (Lucey et al., CVPR workshops 2010, https://doi.org/10.1109/CVPRW.2010.5543262) in both forms people have.

593 sequences of 123 people, 327 of them (118 people) with one of seven emotions, from neutral to the peak. The usual
set of images is the last three frames of each: 981. Either the folder `<class>/S###_###_########.png` of 48×48 crops,
or the original `cohn-kanade-images/S###/###/*.png` with `Emotion/S###/###/*_emotion.txt`. Neutral first frames are
not read. There is no canonical split; `protocols.py` has the papers'.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, images_in, read_labelled_files

# The order of the codes 1–7 in the emotion files; 0 would be neutral.
LABELS = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
# Three times Lucey et al., table 3: 45, 18, 59, 25, 69, 28 and 83 sequences
PUBLISHED = {"All": dict(zip(LABELS, (135, 54, 177, 75, 207, 84, 249), strict=True))}
FRAMES = 3
SIZE = 48

_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}\.(png|jpg)", re.IGNORECASE)
_EMOTION_FOLDERS = ("Emotion", "Emotion_labels", "Emotion_labels/Emotion")


def holds_frames(path: Path) -> bool:
    """Say whether the original sequences lie there: whole pictures, not crops of faces."""
    return (Path(path) / "cohn-kanade-images").is_dir()


def load_ck_plus(path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read CK+ as grey faces, (N, H, W) uint8; subjects are `S###`, the only split is `All`.

    The original frames (640×490 and 640×480) need `prepare`, a crop to one size. Files that are damaged or named
    otherwise, and emotion files without a code of 1–7 or without frames, stand in `.unreadable`. Raises BadInput when
    there is no CK+.
    """
    path = Path(path)
    frames = path / "cohn-kanade-images"
    if holds_frames(path):
        emotions = [path / name for name in _EMOTION_FOLDERS if list((path / name).glob("S*/"))]
        if not emotions:
            raise BadInput(f"expected Emotion/S###/### beside {frames}, found none; unpack Emotion_labels.zip there")
        files, unreadable = _read_sequences(frames, emotions[0], path)
        return read_labelled_files(files, path, LABELS, colour=False, prepare=prepare, unreadable=unreadable)
    if not path.is_dir():
        raise BadInput(f"expected the CK+ folder, found {path}; check the path")
    files, unreadable = _read_folder(path)
    if not files:
        raise BadInput(f"expected <class>/S###_###_########.png or cohn-kanade-images under {path}, found none; "
                       "check the path")
    return read_labelled_files(
        files, path, LABELS, colour=False, prepare=prepare, shape=(SIZE, SIZE), unreadable=unreadable
    )


def _read_folder(root: Path) -> tuple[list[LabelledFile], list[str]]:
    """List the 48×48 crops; the name tells the person."""
    files, unreadable = [], []
    for label, folder in class_folders(root, LABELS):
        for file in images_in(folder):
            named = _NAME.fullmatch(file.name)
            if named:
                files.append(LabelledFile(file, label, subject=named[1].upper()))
            else:
                unreadable.append(str(file.relative_to(root)))
    return files, unreadable


def _read_sequences(frames: Path, emotions: Path, root: Path) -> tuple[list[LabelledFile], list[str]]:
    """List the last frames of every sequence that has an emotion file; the others have no label."""
    files, unreadable = [], []
    for emotion in sorted(emotions.glob("S*/*/*_emotion.txt")):
        subject, session = emotion.parent.parent.name, emotion.parent.name
        folder = frames / subject / session
        images = [f for f in images_in(folder) if _NAME.fullmatch(f.name)] if folder.is_dir() else []
        label = _emotion_code(emotion)
        if label is None or not images:
            unreadable.append(str(emotion.relative_to(root)))
            continue
        files += [LabelledFile(image, label, subject=subject) for image in images[-FRAMES:]]
    return files, unreadable


def _emotion_code(file: Path) -> int | None:
    """Return the label that one emotion file (`   3.0000000e+00`) means, or None."""
    try:
        code = float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return int(code) - 1 if code in range(1, len(LABELS) + 1) else None
