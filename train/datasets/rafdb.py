"""RAF-DB, basic emotions, aligned faces (Li, Deng and Du, CVPR 2017, http://www.whdeng.cn/raf/model1.html).

15,339 colour faces of 100×100 in seven classes: `basic/Image/aligned/{train,test}_#####_aligned.jpg` and
`basic/EmoLabel/list_patition_label.txt` (spelled so) with lines `train_00001.jpg 5`. Licensed to institutions; written
to the published layout.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.labelled_files import LabelledFile, Prepare, images_in, read_labelled_files

# The order of the codes 1–7 in list_patition_label.txt, from the set's readme
LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
PUBLISHED = {
    "train": dict(zip(LABELS, (1_290, 281, 717, 4_772, 1_982, 705, 2_524), strict=True)),
    "test": dict(zip(LABELS, (329, 74, 160, 1_185, 478, 162, 680), strict=True)),
}
SIZE = 100
LIST = "EmoLabel/list_patition_label.txt"

_LINE = re.compile(r"((train|test)_\d+)\.jpg\s+([1-7])")


def load_rafdb(path: Path, prepare: Prepare | None = None) -> LabelledFaces:
    """Read RAF-DB basic as (N, 100, 100, 3) RGB uint8 in the list's order; splits are `train` and `test`.

    `path` is the folder `basic` or the one above. Damaged or missing images, lines that name none or one a
    second time, and images without a line stand in `.unreadable`. Raises BadInput when there is no RAF-DB.
    """
    path = Path(path)
    root = path / "basic" if (path / "basic").is_dir() else path
    try:
        lines = (root / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"expected {LIST} under {root}, found {error.strerror}; give RAF-DB's folder basic") from error
    aligned = root / "Image" / "aligned"
    if not aligned.is_dir():
        raise BadInput(f"expected the faces in {aligned}, found no such folder; unpack aligned.zip there")
    files, unreadable, seen = [], [], set[str]()
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line.strip())
        if found and found[1] not in seen:
            seen.add(found[1])
            files.append(LabelledFile(aligned / f"{found[1]}_aligned.jpg", int(found[3]) - 1, split=found[2]))
        elif line.strip():
            unreadable.append(f"{LIST}:{number}")
    listed = {file.path.name for file in files}
    unreadable += [str(f.relative_to(root)) for f in images_in(aligned) if f.name not in listed]
    return read_labelled_files(
        files, root, LABELS, colour=True, prepare=prepare, shape=(SIZE, SIZE), unreadable=unreadable
    )
