"""RaFD, the Radboud Faces Database (Langner et al. 2010, https://doi.org/10.1080/02699930903485076, https://rafd.socsci.ru.nl).

67 people × 8 expressions × 3 gazes × 5 camera angles: 8,040 colour photographs of 681×1024. All is in the name:
`Rafd090_01_Caucasian_female_angry_frontal.jpg` is angle, person, group, sex, expression, gaze. Licensed to
institutions; written to the published layout. There is no canonical split.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, read_labelled_files

LABELS = ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
# 67 people × 3 gazes × 5 angles of each expression; 1,608 photographs an angle
PUBLISHED = {"All": dict.fromkeys(LABELS, 1_005)}
FRONTAL = 90  # the angle in the name of a face that looks at the camera

_NAME = re.compile(
    rf"Rafd(000|045|090|135|180)_(\d\d)_[A-Za-z]+_(?:male|female)_({'|'.join(LABELS)})_(?:left|frontal|right)\.jpe?g",
    re.IGNORECASE,
)


def load_rafd(path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read RaFD as (N, H, W, 3) RGB uint8; `.subjects` are the two digits, the only split is `All`.

    `.poses` are degrees from -90 to 90 with 0 frontal: the name's angle less 90. The whole set needs `prepare`, a crop
    that makes it smaller. Files that are damaged or named otherwise stand in `.unreadable`. Raises BadInput when there
    is no RaFD.
    """
    path = Path(path)
    files, unreadable = [], []
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name.startswith(".") or file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        named = _NAME.fullmatch(file.name)
        if named:
            label = LABELS.index(named[3].lower())
            files.append(LabelledFile(file, label, subject=named[2], pose=int(named[1]) - FRONTAL))
        else:
            unreadable.append(str(file.relative_to(path)))
    if not files:
        raise BadInput(f"expected Rafd090_01_Caucasian_female_angry_frontal.jpg and the like under {path}, found none; "
                       "check the path")
    return read_labelled_files(files, path, LABELS, colour=True, prepare=prepare, unreadable=unreadable)
