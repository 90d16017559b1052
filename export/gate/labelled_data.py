"""Any data set of labelled faces → the faces that a model is checked on, under that model's labels.

A register's data set with its own splits, or a folder of class-named folders. Labels are matched by the written map
(`train/datasets/label_maps.py`), never by likeness of words. Knows no network and no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.card import ModelCard
from runtime.errors import BadInput
from runtime.faces.detector import FaceDetector
from runtime.preprocess import FaceInput, crop_faces, prepare_face, prepare_faces
from train.datasets import DATASETS
from train.datasets.fer2013 import is_half
from train.datasets.label_maps import EMOTIONS, relabel
from train.datasets.labelled_faces import LabelledFaces, without_copies_of
from train.datasets.labelled_files import Prepare
from train.datasets.own_faces import load_own_faces

FOLDERS = "folders"  # the --dataset of one folder a class
EVERYTHING = "All"  # the split of a set that has none of its own
PHOTOGRAPHS = ("rafd",)  # whole heads and shoulders: their faces must be found first
MEANING = {word: emotion for words in EMOTIONS.values() for word, emotion in words.items()}


@dataclass(frozen=True, eq=False)
class CheckedFaces:
    """Prepared faces (N, C, H, W) uint8, labels (N,) of the model's, names; `facts` is what records say of the data.

    warnings: what a reader of the figures must know.
    """

    faces: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    facts: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class DataAsked:
    """Where the faces lie and which of them are meant.

    dataset: a register's name or `folders`; "" recognises class-named folders and else means fer2013. splits: none
    takes the one that the set's authors report on. detector: finds the faces in whole photographs.
    """

    path: Path
    dataset: str = ""
    splits: Sequence[str] = ()
    with_copies: bool = False
    detector: FaceDetector | None = None


def load_checked_faces(asked: DataAsked, card: ModelCard) -> CheckedFaces:
    """Read, choose, relabel and prepare. Raises BadInput where no face is left, or labels cannot be matched."""
    name = asked.dataset or _recognise(asked.path, card)
    everything = _read(asked, name, card)
    parts = DATASETS[name].parts if name in DATASETS else None
    splits = list(dict.fromkeys(asked.splits)) or [parts.reported if parts else EVERYTHING]
    chosen = _of_splits(everything, splits)
    training = parts.training if parts else None
    leaves_copies_out = training is not None and training not in splits and not asked.with_copies
    if leaves_copies_out:
        chosen = without_copies_of(chosen, everything.split(str(training)))
    told = _as_the_model_says(chosen, name, card)
    if not len(told):
        raise BadInput(f"expected labelled faces in {' and '.join(splits)}, found none; check --data and --split")
    facts = {"name": name, "splits": splits, "without_copies": leaves_copies_out, "images": len(told),
             "pooled": len(splits) > 1, "sha256": told.sha256(), "unreadable": len(everything.unreadable),
             "left_out": len(chosen) - len(told), "faces": asked.detector.name if asked.detector else "whole images"}
    warnings = []
    if training in splits or (parts is None and card.training.get("data", {}).get("name") == name):
        warnings.append("the network was trained on these faces, or on some: nothing here tells what others lose")
    if everything.unreadable:
        warnings.append(f"{len(everything.unreadable)} files of {name} could not be read, or show no face, "
                        f"{everything.unreadable[0]} the first: they are in no figure")
    if facts["left_out"]:
        warnings.append(f"{facts['left_out']} images of {name} are left out: {card.name} has no label for "
                        f"{', '.join(_without_a_word(chosen, card))}")
    return CheckedFaces(_prepared(told, asked, name, card.input), told.labels, tuple(told.names), facts,
                        tuple(warnings))


def _recognise(path: Path, card: ModelCard) -> str:
    """Return `folders` where a folder holds one named as the model's label, else FER2013's name."""
    known = path.is_dir() and any(f.name.lower() in card.labels for f in path.iterdir() if f.is_dir())
    return FOLDERS if known else "fer2013"


def _read(asked: DataAsked, name: str, card: ModelCard) -> LabelledFaces:
    prepare = _cutter(asked.detector, card.input)
    if name == FOLDERS:
        if is_half(asked.path):
            raise BadInput(f"expected the whole of FER2013, whose file names tell its splits, found its half "
                           f"{asked.path}; give the folder above, and --split")
        try:
            return load_own_faces(asked.path, card.labels, prepare)
        except BadInput as error:
            raise BadInput(f"{error}; a known data set is named with --dataset") from error
    if name in PHOTOGRAPHS and asked.detector is None:
        raise BadInput(f"expected a detector for {name}, whose images are photographs, found none; add --faces "
                       "mien-face")
    return DATASETS[name].load(asked.path, prepare if asked.detector else None)


def _cutter(detector: FaceDetector | None, how: FaceInput) -> Prepare:
    """Return what makes one prepared face, (H, W) or (H, W, 3), of an image as read, grey or RGB."""
    def cut(image: np.ndarray) -> np.ndarray | None:
        frame = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)
        if detector is None:
            face = prepare_face(frame, how)
        else:
            found = detector.detect(frame)
            if not len(found):
                return None
            landmarks = None if found.landmarks is None else found.landmarks[:1]
            face = crop_faces(frame, found.boxes[:1], how, landmarks)[0]
        return face[0] if how.channels == 1 else np.ascontiguousarray(face.transpose(1, 2, 0))

    return cut


def _of_splits(faces: LabelledFaces, splits: list[str]) -> LabelledFaces:
    there = list(dict.fromkeys(faces.splits.tolist()))
    missing = [name for name in splits if name not in there]
    if missing:
        raise BadInput(f"expected images of the split {missing[0]}, found none; --split takes {', '.join(there)}")
    return faces.split(*splits)


def _as_the_model_says(faces: LabelledFaces, name: str, card: ModelCard) -> LabelledFaces:
    """Give faces the model's labels; emotions it has no word for are left out. Raises BadInput."""
    theirs, ours = faces.label_names, card.labels
    trained_on = card.training.get("data", {}).get("name")
    elsewhere = trained_on in EMOTIONS and trained_on != name
    if theirs == ours:
        return faces
    if set(theirs) == set(ours) and not elsewhere:
        raise BadInput(f"expected a model of the labels {', '.join(theirs)}, found {', '.join(ours)}; the labels are "
                       "permuted, or the model is of another task")
    unknown = [label for label in ours if label not in MEANING]
    if unknown:
        raise BadInput(f"expected a model of the labels {', '.join(theirs)}, or of another data set's, found "
                       f"{unknown[0]}; no label of {name} is known to mean it")
    label_of = {MEANING[label]: label for label in ours}
    return relabel(faces, {label: label_of.get(MEANING[label]) for label in theirs}, ours)


def _without_a_word(faces: LabelledFaces, card: ModelCard) -> list[str]:
    emotions = {MEANING[label] for label in card.labels}
    return [label for place, label in enumerate(faces.label_names)
            if MEANING[label] not in emotions and (faces.labels == place).any()]


def _prepared(faces: LabelledFaces, asked: DataAsked, name: str, how: FaceInput) -> np.ndarray:
    """Return faces as the network takes them; what was cut while it was read is so already."""
    if asked.detector is not None or name == FOLDERS:
        return faces.images[:, None] if faces.images.ndim == 3 else faces.images.transpose(0, 3, 1, 2)
    grey = faces.images.ndim == 3
    return prepare_faces(faces.images if grey else faces.images[..., ::-1], how)  # data sets are RGB, crops BGR
