"""Open a face detector: `haar` needs no model file, a path opens a YuNet ONNX graph."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import BadInput
from runtime.faces.detector import FaceDetector
from runtime.faces.haar import HaarDetector
from runtime.faces.yunet import YuNetDetector


def open_detector(
    which: str, max_faces: int = 8, score_threshold: float = 0.6, threads: int = 0
) -> FaceDetector:
    """Open `haar` or the path of a YuNet `.onnx`; Haar ignores threshold and threads.

    Raises BadInput, BadModel, Unavailable.
    """
    if which == "haar":
        return HaarDetector(max_faces)
    if which.endswith(".onnx"):
        return YuNetDetector(Path(which), max_faces, score_threshold, threads)
    raise BadInput(f"expected a face detector 'haar' or the path of a YuNet .onnx file, found {which!r}")
