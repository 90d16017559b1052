"""A frame → a YuNet graph → the frame's faces; what its outputs mean is `anchor_free.py`'s.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20, 2023. Knows nothing
of who trained the graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel
from runtime.faces.anchor_free import HEADS, decode
from runtime.faces.detector import Faces, check_frame, keep_largest
from runtime.faces.letterbox import letterbox
from runtime.onnx_weights import refuse_unsafe

LONGEST_SIDE = 640  # px searched by a graph of free size; a 20 px face in a 1080p frame is below the crop's use anyway
MAX_FILE_BYTES = 64 << 20  # YuNet is 0.3 MB


class YuNetDetector:
    """Finds faces and five landmarks with a YuNet ONNX graph of fixed or free input size."""

    name = "yunet"
    THRESHOLD = 0.6  # of a face's score: opencv_zoo's

    def __init__(self, path: Path, max_faces: int = 8, score_threshold: float = THRESHOLD, threads: int = 0):
        """Open a graph; a face needs `score_threshold`. Raises BadInput, BadModel."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadModel(f"expected a YuNet file of at most {MAX_FILE_BYTES} bytes, found more in {path}")
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"expected a YuNet ONNX file, found {path}: {error.strerror}; check --faces") from error
        refuse_unsafe(content, str(path))
        self._engine = OnnxRuntimeEngine(content, str(path), "fp32", threads)
        inputs = self._engine.inputs
        if not set(HEADS) <= {o.name for o in self._engine.outputs} or len(inputs) != 1 or len(inputs[0].shape) != 4:
            own = (path.parent / "card.json").is_file()
            raise BadModel(f"expected YuNet's outputs cls/obj/bbox/kps at strides 8, 16, 32, found others in {path}; "
                           + (f"give the model's directory, {path.parent}" if own else "give mien-face"))
        self._input = inputs[0].name
        height, width = inputs[0].shape[2:]
        self._fixed = (width, height) if width and height else None
        self._max_faces, self._threshold = max_faces, score_threshold

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the largest faces of a frame, (H, W, 3) BGR uint8. Raises BadInput, MienError."""
        check_frame(frame)
        picture, scale = letterbox(frame, self._fixed, LONGEST_SIDE)
        size = (picture.shape[1], picture.shape[0])
        tensor = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        found = decode(self._engine.run({self._input: tensor}), size, self._threshold)
        landmarks = None if found.landmarks is None else found.landmarks / scale
        found = Faces(found.boxes / scale, landmarks, found.scores)
        return keep_largest(found, (frame.shape[1], frame.shape[0]), self._max_faces)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()
