"""A model directory whose task is `face` → the frame's faces, through the engines that read expressions.

The graph takes grey pixels and gives one row of sixteen a cell; `anchor_free.py` says what they mean. A frame is
searched twice, whole and at half its side: a small network sees too little around a cell to find a face that fills the
frame. Knows nothing of how the network was trained.
"""

from __future__ import annotations

import cv2
import numpy as np

from runtime.card import Model
from runtime.engines.engine import Engine
from runtime.errors import BadInput, MienError
from runtime.faces.anchor_free import decode_cells
from runtime.faces.detector import Faces, check_frame, keep_largest
from runtime.faces.letterbox import letterbox

LONGEST_SIDE = 640  # px searched where the engine takes any size: what engines for a GPU are compiled for
# px of the searched picture: larger faces are the half picture's, for mien-face finds those of 250 px in parts
LARGEST_WHOLE = 192
SMALLEST_HALVED = 64  # px of the half picture: twice that in the whole, so that both see what lies between
# px of the searched picture's longer side that one search serves: of 30 head shots 1.7 times as high as the frame it
# found 28 once at 320×240, but 21 at 352×288, where both searches found 30
SEARCHED_ONCE = 320


class ModelDetector:
    """Finds faces and five landmarks with an open engine of a face model, of fixed or free input size."""

    def __init__(self, model: Model, engine: Engine, max_faces: int = 8, score_threshold: float = 0.5,
                 longest_side: int = LONGEST_SIDE):
        """Use an engine of this model, which `close` closes; a face needs `score_threshold`. Raises BadInput."""
        if model.card.task != "face":
            raise BadInput(f"expected a model that finds faces, found {model.directory}, which reads "
                           f"{model.card.task}s; give mien-face, haar or a YuNet .onnx")
        self.name = model.card.name
        self.engine = engine
        self._input, self._output = model.card.input_name, model.card.output_name
        height, width = next(i.shape for i in engine.inputs if i.name == self._input)[2:]
        self._fixed = (width, height) if width and height else None
        self._max_faces, self._threshold, self._longest_side = max_faces, score_threshold, longest_side

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the largest faces of a frame, (H, W, 3) BGR uint8. Raises BadInput, MienError."""
        check_frame(frame)
        width, height = frame.shape[1], frame.shape[0]
        # shrunk before it loses its colour: half the work of the other order
        picture, scale = letterbox(frame, self._fixed, self._longest_side)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        whole = self._search(grey)
        if max(width, height) * scale <= SEARCHED_ONCE:
            return keep_largest(_scaled(whole, scale), (width, height), self._max_faces)
        half, shrunk = letterbox(grey, None, max(grey.shape) // 2)
        found = join(whole, _scaled(self._search(self._filled(half)), shrunk))
        return keep_largest(_scaled(found, scale), (width, height), self._max_faces)

    def _search(self, grey: np.ndarray) -> Faces:
        """Find faces in a picture (H, W) uint8 of the engine's size."""
        cells = self.engine.run({self._input: grey[None, None]})[self._output][0]
        if not np.isfinite(cells[:, :2]).all():  # no face for months would look like an empty room
            raise MienError(f"expected finite scores from {self.name}, found NaN or infinity; install the model again")
        return decode_cells(cells, (grey.shape[1], grey.shape[0]), self._threshold)

    def _filled(self, grey: np.ndarray) -> np.ndarray:
        """Pad a picture to the engine's size, where that is fixed."""
        if self._fixed is None:
            return grey
        filled = np.zeros(self._fixed[::-1], np.uint8)
        filled[: grey.shape[0], : grey.shape[1]] = grey
        return filled

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def join(whole: Faces, halved: Faces) -> Faces:
    """Join what a picture and its half show, boxes of both in the picture's pixels.

    A face of both is the half's, and so is all that lies mostly within it: a cheek is no face of its own.
    """
    small = whole.boxes[:, 2:].max(axis=1, initial=0) <= LARGEST_WHOLE
    large = halved.boxes[:, 2:].max(axis=1, initial=0) >= 2 * SMALLEST_HALVED
    inner, outer = whole.boxes[:, None], halved.boxes[None, large]
    shared = (np.minimum(inner[..., :2] + inner[..., 2:], outer[..., :2] + outer[..., 2:])
              - np.maximum(inner[..., :2], outer[..., :2])).clip(0).prod(axis=2)
    small &= (shared <= whole.boxes[:, 2:].prod(axis=1)[:, None] / 2).all(axis=1)
    landmarks = None
    if whole.landmarks is not None and halved.landmarks is not None:
        landmarks = np.concatenate([halved.landmarks[large], whole.landmarks[small]])
    return Faces(np.concatenate([halved.boxes[large], whole.boxes[small]]), landmarks,
                 np.concatenate([halved.scores[large], whole.scores[small]]))


def _scaled(found: Faces, scale: float) -> Faces:
    """Return faces found in a picture `scale` times as large as the one they are wanted in."""
    landmarks = None if found.landmarks is None else found.landmarks / np.float32(scale)
    return Faces(found.boxes / np.float32(scale), landmarks, found.scores)
