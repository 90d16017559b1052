"""Whose label means what in another data set, written out: nothing is matched by likeness of words.

Knows nothing of how faces are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from runtime.errors import BadInput
from train.datasets.labelled_faces import LabelledFaces

# Each data set's labels, in its order → the emotion, in FER2013's words and "contempt"
EMOTIONS: dict[str, dict[str, str]] = {
    "fer2013": {
        "angry": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy", "sad": "sad",
        "surprise": "surprise", "neutral": "neutral",
    },
    "ck-plus": {
        "anger": "angry", "contempt": "contempt", "disgust": "disgust", "fear": "fear", "happy": "happy",
        "sadness": "sad", "surprise": "surprise",
    },
    "raf-db": {
        "surprise": "surprise", "fear": "fear", "disgust": "disgust", "happiness": "happy", "sadness": "sad",
        "anger": "angry", "neutral": "neutral",
    },
    "sfew": {
        "angry": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy", "neutral": "neutral", "sad": "sad",
        "surprise": "surprise",
    },
    "rafd": {
        "angry": "angry", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear", "happy": "happy",
        "neutral": "neutral", "sad": "sad", "surprised": "surprise",
    },
}


def label_map(source: str, target: str) -> dict[str, str | None]:
    """Return {label of `source`: label of `target`}; None where the target has no such emotion (contempt, neutral)."""
    for name in (source, target):
        if name not in EMOTIONS:
            raise BadInput(f"expected one of {', '.join(EMOTIONS)}, found {name!r}; write a map for it")
    label_of = {emotion: label for label, emotion in EMOTIONS[target].items()}
    return {label: label_of.get(emotion) for label, emotion in EMOTIONS[source].items()}


def relabel(faces: LabelledFaces, mapping: Mapping[str, str | None], label_names: tuple[str, ...]) -> LabelledFaces:
    """Give faces another data set's labels; those mapped to None are left out.

    Raises BadInput where a label of `faces` is not in the mapping, or is mapped to one that is not in `label_names`.
    """
    for label in faces.label_names:
        if label not in mapping:
            raise BadInput(f"expected a map for every label, found none for {label}; map it to a label or to None")
        if mapping[label] is not None and mapping[label] not in label_names:
            raise BadInput(f"expected one of {', '.join(label_names)} for {label}, found {mapping[label]}")
    new = [mapping[label] for label in faces.label_names]
    codes = np.array([-1 if label is None else label_names.index(label) for label in new], dtype=np.int64)
    kept = faces.where(codes[faces.labels] >= 0)
    return dataclasses.replace(kept, labels=codes[kept.labels], label_names=label_names)


def without_labels(faces: LabelledFaces, *dropped: str) -> LabelledFaces:
    """Leave whole classes out, as paper E leaves contempt out of CK+; the others keep their order."""
    for label in dropped:
        if label not in faces.label_names:
            raise BadInput(f"expected labels of {', '.join(faces.label_names)}, found {label}")
    kept = tuple(label for label in faces.label_names if label not in dropped)
    return relabel(faces, {label: label if label in kept else None for label in faces.label_names}, kept)
