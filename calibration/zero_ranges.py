"""What never moves: tensors that were zero on every image, output channels whose weights are all zero.

Both keep a scale of 1, so nothing is divided by zero; both are worth a word. Knows nothing of how scales are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from calibration.onnx_graph import Graph, output_axis
from calibration.quantize import Plan
from runtime.histogram import Histogram


def warn_of_zeros(model: onnx.ModelProto, chosen: Plan, histograms: Mapping[str, Histogram]) -> tuple[str, ...]:
    """Return one line for every tensor, and for every layer with channels, that hold nothing but zeros."""
    lines = [f"{tensor} is zero on every image; its scale is 1: check the images, or train that layer again"
             for tensor, histogram in histograms.items() if not histogram.largest]
    graph = Graph(model)
    for node in graph.nodes:
        if node.name not in chosen.nodes or node.input[1] not in graph.weights:
            continue
        weight = graph.weight(node.input[1])
        largest = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != output_axis(node)))
        if (largest == 0).any():
            lines.append(f"{node.name} has {int((largest == 0).sum())} of {largest.size} output channels whose weights "
                         "are all zero; they stay as they are")
    return tuple(lines)
