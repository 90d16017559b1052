"""A recipe and a data set → the faces that train, those that choose the epoch, and those that are reported.

Where a data set has no third part to choose on, the last epoch is kept: choosing on what is reported flatters it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from runtime.command_line import say
from runtime.errors import BadInput
from runtime.faces.haar import HaarDetector
from runtime.preprocess import FaceInput, crop_square, prepare_face
from train.datasets import DATASETS, FOLDERS, load_dataset, own_splits
from train.datasets.labelled_faces import LabelledFaces
from train.datasets.own_faces import load_own_faces
from train.datasets.protocols import (
    Fold,
    canonical_split,
    random_90_10,
    shared_subjects,
    subject_independent_ten_fold,
    ten_fold,
)
from train.expression.stream_crops import aligned_input, with_stream_crops
from train.recipe import Recipe


@dataclass(frozen=True)
class Parts:
    """Faces without an image in common; `choosing` is None where the protocol has no such part.

    shared_people: how many stand in both training and reported, None where the data does not tell.
    """

    training: LabelledFaces
    choosing: LabelledFaces | None
    reported: LabelledFaces
    shared_people: int | None


def face_input(recipe: Recipe) -> FaceInput:
    """Return how the recipe's network wants its faces: what the card will say."""
    how = FaceInput(recipe.side, recipe.side, recipe.colour, equalize=recipe.equalize,
                    resize=recipe.size if recipe.crop else None)
    return aligned_input(how) if recipe.as_streamed else how


def load_faces(recipe: Recipe, path: Path) -> LabelledFaces:
    """Read the recipe's data set as its network wants it, whole at `recipe.size`: the crop comes later."""
    if recipe.data == FOLDERS:
        return _every_class(load_own_faces(path, recipe.labels, _reader(recipe)), path)
    if recipe.face == "whole" and DATASETS[recipe.data].photographs(path):
        warnings.warn(f"{recipe.data} in {path} holds whole pictures, and the recipe takes each for a face from edge "
                      "to edge; --set face=haar finds the face in it", stacklevel=2)
    faces = load_dataset(recipe.data, path, _reader(recipe))
    return _only(faces, recipe.labels) if recipe.labels else faces


def parts_of(recipe: Recipe, faces: LabelledFaces) -> Parts:
    """Divide a data set by the recipe's protocol. Raises BadInput where the data set does not allow it."""
    choosing = None
    if recipe.protocol == "canonical":
        names = own_splits(recipe.data)
        if names is None:
            raise BadInput(f"expected a data set with its own splits, found {recipe.data}; choose another protocol: "
                           "random-90-10, ten-fold or ten-fold-by-subject")
        fold = canonical_split(faces.splits, [names.training], [names.reported])
        choosing = faces.split(names.choosing) if names.choosing else None
    elif recipe.protocol == "ten-fold-by-subject":
        if faces.subjects is None:
            raise BadInput(f"expected a data set that tells its people apart, found {recipe.data}; choose ten-fold")
        fold = subject_independent_ten_fold(faces.subjects, recipe.seed)[recipe.fold]
    else:
        fold = _random_fold(recipe, len(faces))
    shared = None if faces.subjects is None else shared_subjects(fold, faces.subjects)
    parts = Parts(faces.where(fold.train), choosing, faces.where(fold.test), shared)
    if len(parts.training) < recipe.batch_size or (choosing is not None and not len(choosing)):
        found = f"{len(parts.training)}" + ("" if choosing is None else f", and {len(choosing)} to choose on")
        raise BadInput(f"expected at least {recipe.batch_size} faces to train on and one to choose on, found {found}; "
                       "take more, or a smaller batch: --set batch_size=16")
    return parts


def warn_of_untrained(training: LabelledFaces) -> None:
    """Warn of classes without a face to learn them from: a draw may leave a rare one out."""
    untrained = [name for label, name in enumerate(training.label_names) if label not in training.labels]
    if untrained:
        warnings.warn(f"no face of {', '.join(untrained)} is among those trained on: the network cannot learn it; "
                      "take more faces, or another --seed", stacklevel=2)


def with_streamed(recipe: Recipe, parts: Parts) -> Parts:
    """Return the parts with the stream's crops beside those that train and that choose, where the recipe says so."""
    if not recipe.as_streamed:
        return parts
    how = aligned_input(FaceInput(recipe.size, recipe.size, recipe.colour, equalize=recipe.equalize))
    choosing = None if parts.choosing is None else with_stream_crops(parts.choosing, how)
    return dataclasses.replace(parts, training=with_stream_crops(parts.training, how), choosing=choosing)


def _random_fold(recipe: Recipe, count: int) -> Fold:
    if recipe.protocol == "random-90-10":
        return random_90_10(count, recipe.seed)
    return ten_fold(count, recipe.seed)[recipe.fold]


def _every_class(faces: LabelledFaces, path: Path) -> LabelledFaces:
    """Refuse own faces without one of their classes, say which files are left out, and hand them on."""
    missing = [label for number, label in enumerate(faces.label_names) if number not in faces.labels]
    if missing:
        raise BadInput(f"expected faces of every class in {path}, found none of {', '.join(missing)}; add some, or "
                       "correct the recipe's labels")
    if faces.unreadable:
        say(f"left out, for they are no faces: {len(faces.unreadable)} of the files, {faces.unreadable[0]} the first")
    return faces


def _only(faces: LabelledFaces, labels: tuple[str, ...]) -> LabelledFaces:
    """Keep some labels, renumbered in the order given."""
    unknown = [label for label in labels if label not in faces.label_names]
    if unknown:
        raise BadInput(f"expected labels of {', '.join(faces.label_names)}, found {unknown[0]}; correct the recipe")
    index = np.full(len(faces.label_names), -1, dtype=np.int64)
    index[[faces.label_names.index(label) for label in labels]] = np.arange(len(labels))
    kept = faces.where(index[faces.labels] >= 0)
    return LabelledFaces(kept.images, index[kept.labels], kept.splits, kept.names, labels, faces.unreadable,
                         kept.subjects, kept.poses)


def _reader(recipe: Recipe) -> Callable[[np.ndarray], np.ndarray | None]:
    """Return what turns one image as read, (H, W) or (H, W, 3) RGB uint8, into a face of the recipe's size."""
    how = FaceInput(recipe.size, recipe.size, recipe.colour, equalize=recipe.equalize)
    detector = HaarDetector(max_faces=1) if recipe.face == "haar" else None

    def read(image: np.ndarray) -> np.ndarray | None:
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if detector is not None:
            frame = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
            found = detector.detect(frame)
            if not len(found.boxes):
                return None
            image = crop_square(frame, found.boxes[0], how.margin)
        face = prepare_face(image, how)
        return face[0] if how.channels == 1 else np.ascontiguousarray(face.transpose(1, 2, 0))

    return read
