"""Open a face detector: a model directory runs on any target, `haar` needs none, a `.onnx` path is a YuNet graph."""

from __future__ import annotations

from pathlib import Path

from runtime.card import Model, load_model
from runtime.engines import graph_for
from runtime.engines.shared import SharedEngines
from runtime.errors import BadInput
from runtime.faces.detector import FaceDetector
from runtime.faces.haar import HaarDetector
from runtime.faces.model_detector import LONGEST_SIDE, ModelDetector
from runtime.faces.yunet import YuNetDetector
from runtime.golden import require_agreement


def open_detector(which: str, max_faces: int = 8, score_threshold: float = 0.0, threads: int = 0,
                  precision: str = "fp32", target: str = "cpu", cache: Path | None = None,
                  longest_side: int = LONGEST_SIDE, engines: SharedEngines | None = None) -> FaceDetector:
    """Open a model directory or the name of one that ships, `haar`, or the path of a YuNet `.onnx`.

    score_threshold: 0–1; 0 is the detector's own. precision, target, cache, longest_side (px searched): of a model;
    its golden vectors pass before it is returned. engines: those that are open already. Haar ignores threads and
    threshold. Raises BadInput, BadModel, Unavailable, Departure.
    """
    if which == "haar":
        return HaarDetector(max_faces)
    model = detector_model(which)
    if model is None:
        return YuNetDetector(Path(which), max_faces, score_threshold or YuNetDetector.THRESHOLD, threads)
    engine = (engines or SharedEngines()).open(model, precision, target, threads, cache)
    try:
        require_agreement(model, engine, graph_for(precision, engine.target))
        return ModelDetector(model, engine, max_faces, score_threshold or model.card.score_threshold, longest_side)
    except BaseException:
        engine.close()
        raise


def detector_model(which: str) -> Model | None:
    """Return the model directory that a detector's name means; None for `haar` and for a `.onnx` path.

    Raises BadInput, BadModel.
    """
    if which == "haar" or which.endswith(".onnx"):
        return None
    try:
        return load_model(Path(which))
    except BadInput as error:
        raise BadInput(f"expected a face detector: 'mien-face', a model directory, 'haar' or the path of a YuNet .onnx "
                       f"file, found {which!r}") from error
