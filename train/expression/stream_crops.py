"""A data set's own face crops → what the stream would cut of the same faces: found in a frame, aligned by landmarks.

A data set cuts its faces in a way of its own; a network that never saw another loses accuracy on a camera's. Each image
is shown in a frame, mirrored beyond its edges, and the shipped detector finds it there. Knows no network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from tqdm import tqdm

from runtime.face_input import FaceInput
from runtime.faces import open_detector
from runtime.faces.detector import FaceDetector, Faces
from runtime.preprocess import crop_faces
from train.datasets.labelled_faces import LabelledFaces

SHOWN, AROUND = 192, 64  # px: an image's side in the frame, and what is mirrored on each side of it
DETECTOR, LEAST_SCORE = "mien-face", 0.3  # what lies in the middle is a face by definition: a doubtful find will do
# Where FER2013's images have the five landmarks, in shares of a side: medians over 1,500 training faces that mien-face
# finds, made symmetric. Aligned to it, a face fills its square as it fills a FER2013 image.
TEMPLATE = ((0.314, 0.377), (0.686, 0.377), (0.5, 0.587), (0.344, 0.749), (0.656, 0.749))


def open_crop_detector() -> FaceDetector:
    """Open the shipped detector as the crops want it. Raises BadInput, BadModel."""
    return open_detector(DETECTOR, max_faces=16, score_threshold=LEAST_SCORE, threads=1,
                         longest_side=SHOWN + 2 * AROUND)


def aligned_input(how: FaceInput) -> FaceInput:
    """Return the same input, its faces aligned to the template."""
    return dataclasses.replace(how, template=TEMPLATE)


def in_a_frame(image: np.ndarray) -> np.ndarray:
    """Show a face image, (H, W) grey or (H, W, 3) RGB uint8, in a square BGR frame of SHOWN + 2·AROUND px."""
    bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)
    shown = cv2.resize(bgr, (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC)
    return cv2.copyMakeBorder(shown, AROUND, AROUND, AROUND, AROUND, cv2.BORDER_REFLECT_101)


def stream_crop(image: np.ndarray, how: FaceInput, detector: FaceDetector) -> np.ndarray | None:
    """Return what the stream would cut, (C, height, width) uint8; None where no face is found in the middle."""
    frame = in_a_frame(image)
    found = detector.detect(frame)
    middle = middle_face(found)
    if middle is None:
        return None
    landmarks = None if found.landmarks is None else found.landmarks[[middle]]
    return crop_faces(frame, found.boxes[[middle]], how, landmarks)[0]


def stream_crops(images: Sequence[np.ndarray] | np.ndarray, how: FaceInput, detector: FaceDetector
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Return every image's crop, (N, C, height, width) uint8, zeros where no face was found, and whether one was."""
    crops = np.zeros((len(images), how.channels, how.height, how.width), np.uint8)
    found = np.zeros(len(images), bool)
    for number, image in enumerate(tqdm(images, desc="as streamed", leave=False, disable=None, unit="face")):
        crop = stream_crop(image, how, detector)
        if crop is not None:
            crops[number], found[number] = crop, True
    return crops, found


def with_stream_crops(faces: LabelledFaces, how: FaceInput) -> LabelledFaces:
    """Return the faces twice: as the data set has them, then as the stream would cut those that the detector finds.

    how: of the faces' own size.
    """
    detector = open_crop_detector()
    crops, found = stream_crops(faces.images, how, detector)
    detector.close()
    seen = faces.where(found)
    images = crops[found][:, 0] if how.channels == 1 else crops[found].transpose(0, 2, 3, 1)
    return LabelledFaces(
        np.concatenate([faces.images, images]), np.concatenate([faces.labels, seen.labels]),
        np.concatenate([faces.splits, seen.splits]), [*faces.names, *(f"{name} as streamed" for name in seen.names)],
        faces.label_names, faces.unreadable,
        None if faces.subjects is None or seen.subjects is None else np.concatenate([faces.subjects, seen.subjects]),
        None if faces.poses is None or seen.poses is None else np.concatenate([faces.poses, seen.poses]))


def middle_face(found: Faces) -> int | None:
    """Return which face holds the frame's middle, the surest of them."""
    middle = SHOWN / 2 + AROUND
    first, last = found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]
    holds = ((first <= middle) & (last >= middle)).all(axis=1)
    return int(np.argmax(np.where(holds, found.scores, -1))) if holds.any() else None
