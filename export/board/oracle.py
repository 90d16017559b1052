"""INT8's golden logits on this target against the integer oracle: the exact ones, and those of legal backends.

A compiled engine shows no integers, so only its logits are judged; ONNX Runtime's integers are judged one by one.
FP32 and FP16 have no oracle: `numerics.py` holds them to PyTorch.
"""

from __future__ import annotations

import numpy as np

from calibration.integer_oracle import FUSED, ONNX_RUNTIME, Oracle, exact_outputs, judge, legal_bound
from calibration.integer_oracle.witness import ask_onnxruntime
from calibration.onnx_graph import parse_model
from export.board.numerics import golden_logits
from export.board.task import Measured, Task
from runtime.engines import graph_for


def ask_oracle(task: Task) -> Measured:
    """Return a `record.OracleVerdict`. Raises BadInput, BadModel, Unavailable, MienError."""
    model = task.open_model()
    graph, output, faces = graph_for("int8", task.target), model.card.output_name, model.read_golden().faces
    said = golden_logits(model, "int8", task.target)  # first: without an engine the minutes below are for nothing
    quantized = parse_model(model.read_graph(graph), f"{graph}.onnx")
    oracle = Oracle(quantized, ONNX_RUNTIME if task.target == "cpu" else FUSED)
    from_exact = float(np.abs(said - exact_outputs(oracle, faces)[output]).max())
    legal = float(legal_bound(oracle, faces, task.draws)[output].max())
    failures, integers, illegal = [], 0, 0
    if from_exact > legal:
        failures.append(f"expected the golden logits within {legal:.3g} of the exact integers', as those of legal "
                        f"backends are, found {from_exact:.3g}")
    if task.target == "cpu":
        verdict = judge(oracle, faces, ask_onnxruntime(quantized, faces, fuse=True))
        integers = sum(f.elements for f in verdict.findings if f.integer)
        illegal = sum(f.illegal for f in verdict.findings if f.integer)
        if verdict.first is not None:
            failures.append(f"expected legal integers in {verdict.first.layer}, found: {verdict.first.first}")
    return Measured({"graph_sha256": model.card.graphs[graph].sha256, "backend": oracle.backend.name,
                     "faces": len(faces), "draws": task.draws, "from_exact": from_exact, "legal": legal,
                     "integers": integers, "illegal": illegal}, failures)
