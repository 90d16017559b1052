"""A detector, whatever it is → a function from one grey picture to its faces, all of them, down to a low score.

What a stream's detectors drop (tiny, mostly outside, beyond the eighth) is kept here, because figures need it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.faces.anchor_free import decode_cells
from runtime.faces.detector import Faces
from runtime.faces.haar import HaarDetector
from runtime.faces.model_detector import ModelDetector
from train.faces.task import LOWEST_SCORE, clipped

Find = Callable[[np.ndarray], Faces]


def finder_of_graph(model: Model, graph: str, threads: int = 0) -> Find:
    """Open one graph of a face model in ONNX Runtime; pictures' sides are multiples of 32. Raises BadModel."""
    engine = open_graph_on_cpu(model, graph, threads)

    def find(picture: np.ndarray) -> Faces:
        size = (picture.shape[1], picture.shape[0])
        cells = engine.run({model.card.input_name: picture[None, None]})[model.card.output_name][0]
        return clipped(decode_cells(cells, size, LOWEST_SCORE), size)

    return find


def finder_of_stream(model: Model, graph: str, threads: int = 0) -> Find:
    """Search as a stream does, whole and at half its side, at the card's threshold, all faces kept. Raises BadModel."""
    detector = ModelDetector(model, open_graph_on_cpu(model, graph, threads), 10_000, model.card.score_threshold)
    return lambda picture: detector.detect(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))


def finder_of_haar() -> Find:
    """Ask OpenCV's cascade as a stream does, every face kept. Raises Unavailable on OpenCV 5."""
    detector = HaarDetector(max_faces=10_000)
    return lambda picture: detector.detect(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
