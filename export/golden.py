"""Golden vectors: whole frames → boxes → crops → PyTorch's logits → probabilities → labels, pinned in one file.

Every later link is held against them: preprocessing by the crops, engines by the logits, decoding by the labels.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from export.clip import render_view, view_at, view_matrix
from export.photograph import FACE, LANDMARKS
from runtime.agreement import softmax
from runtime.card import GoldenFaces
from runtime.preprocess import FaceInput, crop_faces

SIZE = (192, 144)  # of a golden frame: six of them are half a megabyte
_SHARES = (0.0, 0.15, 0.3, 0.42, 0.82, 1.0)  # of the clip: near and far, bright and dark, tilted
# Boxes about the face: as found, shifted, larger, smaller, and one over the frame's edge (shares of the side)
_BOXES = ((0, 0, 1), (0.1, -0.08, 1), (-0.06, 0.1, 1.25), (0.05, 0.05, 0.8), (-0.6, -0.5, 1.1))


def make_golden(photograph: np.ndarray, how: FaceInput, label_names: tuple[str, ...],
                logits: Callable[[np.ndarray], np.ndarray], temperature: float) -> GoldenFaces:
    """Render six frames with five boxes each and ask the PyTorch network.

    logits: maps (N, C, H, W) uint8 faces to (N, classes) float32.
    """
    frames, boxes, frame_of, landmarks = [], [], [], []
    for number, share in enumerate(_SHARES):
        view = view_at(share)
        frames.append(render_view(photograph, view, SIZE))
        matrix = view_matrix(view, SIZE)
        x, y, side, _ = FACE
        centre = matrix @ (x + side / 2, y + side / 2, 1)
        seen = side * SIZE[0] / view.width
        for shift_x, shift_y, zoom in _BOXES:
            left, top = centre[0] + shift_x * seen - seen * zoom / 2, centre[1] + shift_y * seen - seen * zoom / 2
            boxes.append((left, top, seen * zoom, seen * zoom))
            frame_of.append(number)
            points = LANDMARKS @ matrix[:, :2].T + matrix[:, 2]
            landmarks.append((points - centre) * zoom + centre + np.array([shift_x, shift_y]) * seen)
    box_array, frame_index = np.array(boxes, dtype=np.float32), np.array(frame_of, dtype=np.int64)
    points_array = None if how.template is None else np.array(landmarks, dtype=np.float32)
    of_frame = [frame_index == number for number in range(len(frames))]
    faces = np.concatenate([
        crop_faces(frame, box_array[mine], how, None if points_array is None else points_array[mine])
        for frame, mine in zip(frames, of_frame)])
    answers = logits(faces).astype(np.float32)
    probabilities = softmax(answers, temperature).astype(np.float32)
    return GoldenFaces(faces, answers, np.stack(frames), box_array, frame_index, points_array, probabilities,
                       answers.argmax(1), np.array(label_names))


def golden_bytes(golden: GoldenFaces) -> bytes:
    """Pack golden vectors as the bytes of an .npz file; the same vectors give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{k: v for k, v in vars(golden).items() if v is not None})
    return buffer.getvalue()
