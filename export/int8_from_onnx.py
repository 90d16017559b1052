"""fp32.onnx and faces → int8.onnx (CPU form) and int8-gpu.onnx (GPU form), written into the model directory.

Joins the calibration room's steps; knows nothing of data sets.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images
from calibration.quantize import plan, quantize
from calibration.ranges import Method, choose_threshold, scale_of
from export.half_from_onnx import half_from_onnx
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.durable import replacing_directory
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import MienError

# The golden faces' departure is measured on this machine; other processors round other sums (ONNX Runtime's x86
# kernels without VNNI saturate), so twice that is allowed, and never less than a tenth of a logit.
HEADROOM, LEAST_BOUND = 2.0, 0.1
# Share of the golden logits' whole spread: a departure beyond it says that the ranges are wrong, not coarse
MOST_DEPARTURE = 0.15


def int8_from_onnx(model: Model, faces: np.ndarray, method: Method, percentile: float,
                   chosen: dict[str, Any]) -> ModelCard:
    """Calibrate on (N, C, H, W) uint8 faces, write both INT8 graphs and the new card; `chosen` says which faces.

    Raises BadInput, BadModel; MienError where the result departs beyond sense, and then nothing is written.
    """
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    chosen_nodes = plan(fp32)
    histograms = observe(fp32, chosen_nodes.tensors, faces)
    thresholds = {name: choose_threshold(h, method, percentile) for name, h in histograms.items()}
    scales = {name: scale_of(t) for name, t in thresholds.items()}
    contents = {
        "int8": quantize(fp32, chosen_nodes, scales, "cpu").SerializeToString(),
        "int8-gpu": half_from_onnx(quantize(fp32, chosen_nodes, scales, "gpu")).SerializeToString(),
    }
    bounds = {graph: _golden_bound(model, graph, content) for graph, content in contents.items()}
    with replacing_directory(model.directory, keep_files=True) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        card = dataclasses.replace(
            model.card,
            graphs=model.card.graphs | {g: FileEntry.of(directory / f"{g}.onnx") for g in contents},
            golden_bound=model.card.golden_bound | bounds,
            calibration={
                "method": method, "percentile": percentile if method == "percentile" else None, "images": len(faces),
                "images_sha256": hash_images(faces), "images_from": chosen,
                "thresholds": {name: round(t, 6) for name, t in thresholds.items()},
                "quantized_nodes": len(chosen_nodes.nodes), "kept_float": list(chosen_nodes.kept_float),
            },
        )
        save_card(directory, card)
    return card


def _golden_bound(model: Model, graph: str, content: bytes) -> float:
    """Return the bound for a graph: twice its departure on the golden faces."""
    golden = model.read_golden()
    engine = OnnxRuntimeEngine(content, graph, "int8", fuse_qdq=graph != "int8-gpu")
    logits = engine.run({model.card.input_name: golden.faces})[model.card.output_name]
    delta = float(np.abs(logits.astype(np.float64) - golden.logits).max())
    most = MOST_DEPARTURE * float(np.ptp(golden.logits))
    if not delta <= most:
        raise MienError(f"expected {graph} within {most:.3g} of PyTorch on the golden faces, found {delta:.3g}; "
                        "nothing was written: calibrate on more, or on other, images")
    return round(max(LEAST_BOUND, HEADROOM * delta), 4)
