"""A calibrated model and held-out faces → what INT8 cost: both forms against FP32, and every layer alone.

All of it with ONNX Runtime on the CPU. Knows no data set, and nothing of how the ranges were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.pick_images import pick_random
from export.int8.find_mix import Sensitivity, find_mix
from runtime.agreement import Comparison, compare, paired_interval, wilson_interval
from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.engines.face_batches import engine_logits, run_all
from runtime.errors import BadInput

FORMS = ("int8", "int8-gpu")
LAYER_FACES = 1024  # each layer costs three passes over them; one face is then a tenth of a point


@dataclass(frozen=True)
class HeldOut:
    """Prepared faces (N, C, H, W) uint8 and labels (N,) that nothing was calibrated on; `source` names them."""

    faces: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]
    source: dict[str, Any]


@dataclass(frozen=True)
class FormFigures:
    """One INT8 form against FP32 on the same faces. `lost` were right before and are wrong now, `won` the reverse.

    Intervals are of 95 %: its accuracy's own, and the paired one of the accuracy lost, in points of 100.
    """

    graph: str
    comparison: Comparison
    interval: tuple[float, float]
    lost_interval: tuple[float, float]
    lost: int
    won: int


@dataclass(frozen=True)
class Int8Figures:
    """What INT8 cost a model; layers were measured on `layer_faces` of the held-out faces, drawn evenly by seed 0."""

    held_out: dict[str, Any]
    images: int
    fp32_accuracy: float
    fp32_interval: tuple[float, float]
    forms: tuple[FormFigures, ...]
    sensitivity: Sensitivity
    layer_faces: int


def measure_int8(model: Model, held_out: HeldOut, budget: float, layer_faces: int = LAYER_FACES) -> Int8Figures:
    """Measure both INT8 forms on all faces, and layers and the mix that keeps `budget` points on some of them.

    Raises BadInput for a model with other labels, or one that is not calibrated.
    """
    require_same_labels(model, held_out)
    wanted = _logits(model, "fp32", held_out.faces)
    right = wanted.argmax(1) == held_out.labels
    forms = []
    for graph in FORMS:
        found = _logits(model, graph, held_out.faces)
        still = found.argmax(1) == held_out.labels
        least, most = paired_interval(right, still)
        forms.append(FormFigures(graph, compare(wanted, found, held_out.labels, held_out.label_names),
                                 wilson_interval(int(still.sum()), len(still)), (100 * least, 100 * most),
                                 int((right & ~still).sum()), int((~right & still).sum())))
    some = pick_random(len(right), min(layer_faces, len(right)), seed=0)
    layers = find_mix(model, held_out.faces[some], held_out.labels[some], budget, None)
    return Int8Figures(held_out.source, len(right), float(right.mean()), wilson_interval(int(right.sum()), len(right)),
                       tuple(forms), layers, len(some))


def require_same_labels(model: Model, held_out: HeldOut) -> None:
    """Raise BadInput where the model's answers are not the faces' labels, or there is no face to measure on."""
    if not len(held_out.faces):
        raise BadInput(f"expected labelled faces of {held_out.source.get('split')} to measure on, found none; "
                       "check its path")
    if model.card.labels != held_out.label_names:
        raise BadInput(f"expected a model of the labels {', '.join(held_out.label_names)} to measure on "
                       f"{held_out.source.get('name')}, found {', '.join(model.card.labels)}; give faces of its "
                       "own labels")


def _logits(model: Model, graph: str, faces: np.ndarray) -> np.ndarray:
    return run_all(engine_logits(open_graph_on_cpu(model, graph), model), faces, graph)
