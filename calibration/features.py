"""What a network sees in a face: the input of its last linear layer, from the float32 graph through ONNX Runtime.

Two faces whose features lie close look alike to the network. Knows nothing of what is picked by them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx

from calibration.exposed_graph import batches_of, open_with_outputs
from calibration.onnx_graph import Graph
from runtime.errors import BadInput, MienError

BATCH = 32


def feature_tensor(model: onnx.ModelProto) -> str:
    """Return the name of the penultimate features: what the last Gemm or MatMul with constant weights reads.

    Raises BadInput where the graph has none.
    """
    graph = Graph(model)
    linear = [n for n in graph.nodes if n.op_type in ("Gemm", "MatMul") and n.input[1] in graph.weights]
    if not linear:
        raise BadInput("expected a graph that ends in a linear layer (Gemm or MatMul), found none; choose the images "
                       "with --choice random or stratified")
    return str(linear[-1].input[0])


def features_of(model: onnx.ModelProto, faces: Iterable[np.ndarray]) -> np.ndarray:
    """Return (N, D) float32 features of uint8 faces (C, H, W). Raises BadInput, and MienError for an infinite one."""
    tensor = feature_tensor(model)
    session = open_with_outputs(model, [tensor])
    name, shape = session.get_inputs()[0].name, tuple(session.get_inputs()[0].shape[1:])
    parts = [session.run([tensor], {name: batch})[0].reshape(len(batch), -1)
             for batch in batches_of(faces, shape, BATCH)]
    if not parts:
        raise BadInput("expected at least one face to choose from, found none; check --images")
    features = np.concatenate(parts)
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise MienError(f"expected finite features, found NaN or infinity in {tensor} for image {broken[0]}; "
                        "check the weights and that image")
    return features
