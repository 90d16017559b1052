"""How far an INT8 graph may be from PyTorch on the golden faces: measured here, or derived from the integer oracle.

Knows nothing of how the graph was rounded.
"""

from __future__ import annotations

import numpy as np

from calibration.integer_oracle import FUSED, ONNX_RUNTIME, WIDENED, Oracle, exact_outputs, legal_bound
from calibration.onnx_graph import parse_model
from runtime.card import Model
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError
from runtime.golden import golden_answers

# A departure measured on this machine; other processors round other sums (ONNX Runtime's x86 kernels without VNNI
# saturate), so twice that is allowed, and never less than a tenth of a logit.
HEADROOM, LEAST_BOUND = 2.0, 0.1
# Share of the golden logits' whole spread: a departure beyond it says that the ranges are wrong, not coarse
MOST_DEPARTURE = 0.15
# Who computes a graph: ONNX Runtime the CPU form; TensorRT the GPU form, which ONNX Runtime follows in wider floats
BACKENDS = {"int8": (ONNX_RUNTIME,), "int8-gpu": (FUSED, WIDENED)}


def golden_bound(model: Model, graph: str, content: bytes, draws: int = 0) -> float:
    """Return the bound on |Δlogit| for a graph's ONNX bytes.

    draws: 0 allows twice the departure measured here; more derive it, as the exact integers' departure and the largest
    that this many randomly drawn legal backends add. MienError where this machine departs beyond sense.
    """
    golden = model.read_golden()
    if draws and golden.cells is not None:
        raise BadInput("expected no --draws for a detector: the oracle's bound is of a classifier's logits")
    engine = OnnxRuntimeEngine(content, graph, "int8", fuse_qdq=graph != "int8-gpu")
    logits = golden_answers(engine, model, golden)
    delta = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    most = MOST_DEPARTURE * float(np.ptp(golden.logits))
    if not delta <= most:
        raise MienError(f"expected {graph} within {most:.3g} of PyTorch on the golden faces, found {delta:.3g}; "
                        "nothing was written: calibrate on more, or on other, images")
    derived = _derived(model, graph, content, draws) if draws else HEADROOM * delta
    return round(max(LEAST_BOUND, derived), 4)


def _derived(model: Model, graph: str, content: bytes, draws: int) -> float:
    golden, output = model.read_golden(), model.card.output_name
    quantized = parse_model(content, graph)
    bounds = []
    for backend in BACKENDS[graph]:
        oracle = Oracle(quantized, backend)
        departure = np.abs(exact_outputs(oracle, golden.faces)[output] - golden.logits).max()
        bounds.append(float(departure + legal_bound(oracle, golden.faces, draws)[output].max()))
    return max(bounds)
