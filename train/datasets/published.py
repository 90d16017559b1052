"""What a data set on disk lacks, or has too much of, against the counts its authors published.

Knows no data set: each loader's file holds its own `PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Mapping

from train.datasets.labelled_faces import LabelledFaces

# Images per split, or per split and label in the published order of labels
Published = Mapping[str, int | Mapping[str, int]]


def differences(faces: LabelledFaces, published: Published) -> tuple[str, ...]:
    """Return one phrase for each count, or order of classes, that is not as published; none is a whole data set."""
    found = faces.counts()
    said: list[str] = []
    for split, expected in published.items():
        here = found.get(split, {})
        if isinstance(expected, int):
            if sum(here.values()) != expected:
                said.append(f"{split}: {expected} images published, {sum(here.values())} found")
            continue
        if tuple(expected) != faces.label_names:
            said.append(f"classes: {', '.join(expected)} published, {', '.join(faces.label_names)} found")
        said += [
            f"{split} {label}: {count} images published, {here.get(label, 0)} found"
            for label, count in expected.items()
            if here.get(label, 0) != count
        ]
    said += [f"{split}: no such split published, {sum(found[split].values())} images found"
             for split in found if split not in published]
    if faces.unreadable:
        said.append(f"{len(faces.unreadable)} unreadable, the first {faces.unreadable[0]}")
    return tuple(said)
