"""A model directory whose task is `face` → the frame's faces, through the engines that read expressions.

The graph takes grey pixels and gives one row of sixteen a cell; `anchor_free.py` says what they mean. Knows nothing of
how the network was trained.
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
        # shrunk before it loses its colour: half the work of the other order
        picture, scale = letterbox(frame, self._fixed, self._longest_side)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        cells = self.engine.run({self._input: grey[None, None]})[self._output][0]
        if not np.isfinite(cells[:, :2]).all():  # no face for months would look like an empty room
            raise MienError(f"expected finite scores from {self.name}, found NaN or infinity; install the model again")
        found = decode_cells(cells, (grey.shape[1], grey.shape[0]), self._threshold)
        landmarks = None if found.landmarks is None else found.landmarks / np.float32(scale)
        found = Faces(found.boxes / np.float32(scale), landmarks, found.scores)
        return keep_largest(found, (frame.shape[1], frame.shape[0]), self._max_faces)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
