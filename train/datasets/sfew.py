"""SFEW 2.0, static expressions in the wild (Dhall et al., ICCV workshops 2011; EmotiW 2015's split).

Film frames in seven classes: `{Train,Val}/<Class>/*.png`, or the aligned faces of 143×181 that come with them,
`{Train,Val}_Aligned_Faces[_new]/<Class>/*.png` (891 and 431: not every frame's face was found). The 372 test frames
are published without labels. Licensed to institutions; written to the published layout.
"""

from __future__ import annotations

from pathlib import Path

from runtime.errors import BadInput
from train.datasets.class_folders import class_folders
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, images_in, read_labelled_files

# The folders' alphabetical order, EmotiW's
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
PUBLISHED = {"Train": 958, "Val": 436, "Test": 372}

# Aligned faces first: they are crops already. Some people nest the folders as the zip files do.
_LAYOUTS = ("{0}_Aligned_Faces_new", "{0}_Aligned_Faces", "{0}/{0}_Aligned_Faces_new", "{0}/{0}_Aligned_Faces", "{0}")


def _folder_of(split: str, path: Path) -> Path | None:
    return next((f for f in (path / layout.format(split) for layout in _LAYOUTS) if f.is_dir()), None)


def holds_frames(path: Path) -> bool:
    """Say whether the labelled splits lie there as whole frames, without aligned faces.

    Raises BadInput where one split is aligned and the other is not.
    """
    path = Path(path)
    whole = {split: folder == path / split for split in ("Train", "Val") if (folder := _folder_of(split, path))}
    if len(set(whole.values())) > 1:
        frames = next(split for split, found in whole.items() if found)
        raise BadInput(f"expected aligned faces of both splits in {path}, or whole frames of both, found {frames} as "
                       f"frames alone; unpack {frames}_Aligned_Faces there too")
    return any(whole.values())


def load_sfew(path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read SFEW as (N, H, W, 3) RGB uint8; splits are `Train`, `Val` and, where someone has its labels, `Test`.

    Aligned faces are taken where they lie beside whole frames; frames need `prepare`. Damaged files, and test images
    without a label, stand in `.unreadable`. Raises BadInput when there is no SFEW, or one split is aligned alone.
    """
    path = Path(path)
    holds_frames(path)
    files: list[LabelledFile] = []
    unreadable: list[str] = []
    for split in PUBLISHED:
        folder = _folder_of(split, path)
        if folder is None:
            continue
        files += [
            LabelledFile(file, label, split)
            for label, class_folder in class_folders(folder, LABELS)
            for file in images_in(class_folder)
        ]
        unreadable += [str(file.relative_to(path)) for file in images_in(folder)]
    if not files:
        raise BadInput(f"expected Train_Aligned_Faces/<Class> or Train/<Class> under {path}, found none; "
                       "check the path")
    return read_labelled_files(files, path, LABELS, colour=True, prepare=prepare, unreadable=unreadable)
