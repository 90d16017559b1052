"""ONNX Runtime on this machine before the integer oracle: a model's INT8 graph on faces, as a record.

Knows nothing of data sets. A TensorRT engine is not asked: this version does not run one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from calibration.integer_oracle import (
    AS_WRITTEN,
    ONNX_RUNTIME,
    WIDENED,
    Oracle,
    Verdict,
    exact_outputs,
    judge,
    legal_bound,
)
from calibration.integer_oracle.witness import ask_onnxruntime
from calibration.onnx_graph import parse_model
from calibration.quantize import Form
from runtime.card import Model
from runtime.machine import describe_machine

# How ONNX Runtime runs each form: (with its fusions, the freedoms it takes). It has no integer kernels for half
# tensors, and its fusions break the GPU form's biases (docs/decisions.md)
WAYS = {"cpu": ((False, AS_WRITTEN), (True, ONNX_RUNTIME)), "gpu": ((False, WIDENED),)}


def judge_onnxruntime(model: Model, form: Form, faces: np.ndarray, draws: int) -> dict[str, Any]:
    """Judge every way that ONNX Runtime runs one form, on (N, C, H, W) uint8 faces; `lines` is the same for people.

    draws: of legal backends, from which `golden` derives what the golden faces may show; 0 leaves that out. Raises
    BadModel, BadInput.
    """
    graph = "int8" if form == "cpu" else "int8-gpu"
    quantized = parse_model(model.read_graph(graph), str(model.directory / f"{graph}.onnx"))
    judged, lines = [], []
    for fuse, backend in WAYS[form]:
        verdict = judge(Oracle(quantized, backend), faces, ask_onnxruntime(quantized, faces, fuse))
        judged.append({"fusions": fuse, **_as_dict(verdict)})
        lines += _lines(f"{model.card.name} {graph}, fusions {'on' if fuse else 'off'}", verdict)
    record = {"model": model.card.name, "graph": graph, "sha256": model.card.graphs[graph].sha256,
              "images": len(faces), "legal": all(found["legal"] for found in judged), "judged": judged,
              "made_on": describe_machine()}
    if draws:
        fuse, backend = WAYS[form][-1]  # the way it ships
        record["golden"] = golden = _golden(model, quantized, graph, Oracle(quantized, backend), fuse, draws)
        lines += [f"golden faces: the exact integers within {golden['exact_departure']:.3g} of PyTorch, {draws} legal "
                  f"backends within {golden['legal_departure']:.3g} of those, ONNX Runtime within "
                  f"{golden['onnxruntime_departure']:.3g}",
                  f"golden bound derived {golden['bound']:.3g}, on the card {golden['card_bound']:.3g}"]
    return record | {"lines": lines}


def _golden(model: Model, quantized: onnx.ModelProto, graph: str, oracle: Oracle, fuse: bool,
            draws: int) -> dict[str, Any]:
    """Return how far the golden logits are from PyTorch's in exact integers, and how far from those they may be."""
    golden, output = model.read_golden(), model.card.output_name
    exact = exact_outputs(oracle, golden.faces)[output]
    said = ask_onnxruntime(quantized, golden.faces, fuse)[output]
    departure = float(np.abs(exact - golden.logits).max())
    legal = float(legal_bound(oracle, golden.faces, draws)[output].max())
    return {"backend": oracle.backend.name, "faces": len(golden.faces), "draws": draws, "exact_departure": departure,
            "legal_departure": legal, "onnxruntime_departure": float(np.abs(said - exact).max()),
            "bound": departure + legal, "card_bound": model.card.golden_bound[graph]}


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values for JSON: totals, and each tensor's figures."""
    integers = [f for f in verdict.findings if f.integer]
    return {
        "backend": verdict.backend, "legal": verdict.legal,
        "integers": sum(f.elements for f in integers), "differing": sum(f.differing for f in integers),
        "undecided": sum(f.undecided for f in integers), "illegal": sum(f.illegal for f in integers),
        "tensors": [{"tensor": f.tensor, "layer": f.layer, "elements": f.elements, "differing": f.differing,
                     "undecided": f.undecided, "illegal": f.illegal, "largest": f.largest, "allowed": f.allowed,
                     "first": f.first} for f in verdict.findings],
    }


def _lines(what: str, verdict: Verdict) -> list[str]:
    found = _as_dict(verdict)
    lines = [f"{what} ({verdict.backend}): {'legal' if verdict.legal else 'ILLEGAL'}; of {found['integers']:,} "
             f"integers {found['undecided']:,} had a choice, {found['differing']:,} differ from the exact ones, "
             f"{found['illegal']:,} are illegal"]
    if verdict.first is not None:
        lines.append(f"first in layer {verdict.first.layer}, tensor {verdict.first.tensor}: {verdict.first.first}")
    return lines
