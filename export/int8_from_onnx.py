"""fp32.onnx and faces, or what faces showed → int8.onnx (CPU form) and int8-gpu.onnx (GPU form) in the model directory.

Joins the calibration room's steps; knows nothing of data sets. The histograms stay beside the graphs as `ranges.hist`,
so that the model can be calibrated again, by another method or with more light, without an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np

from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from calibration.ranges import Method, choose_threshold, scale_of
from calibration.zero_ranges import warn_of_zeros
from export.half_from_onnx import half_from_onnx
from export.observe_model import observe_model
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.durable import replacing_directory
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError
from runtime.ranges_file import ActivationRanges, encode_ranges

RANGES_FILE, LIST_FILE = "ranges.hist", "images.json"
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
    return int8_from_ranges(model, observe_model(model, faces, keep_state=False), method, percentile, chosen)


def int8_from_ranges(model: Model, ranges: ActivationRanges, method: Method, percentile: float, chosen: dict[str, Any],
                     image_list: bytes | None = None, keep_float: Collection[str] = ()) -> ModelCard:
    """Write both INT8 graphs, the histograms they come from and, if given, the image list; return the new card.

    keep_float: nodes of fp32.onnx to leave in float (half in the GPU form), as `mien sensitivity` finds them. Raises as
    `int8_from_onnx`, and BadInput for histograms of another graph, or for a node that cannot be quantized anyway.
    """
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    everything, chosen_nodes = plan(fp32), plan(fp32, keep_float)
    unknown = sorted(set(keep_float) - set(everything.nodes))
    if unknown:
        raise BadInput(f"expected layers that INT8 would quantize, found {unknown[0]}; they are "
                       f"{', '.join(everything.nodes)}")
    if ranges.graph_sha256 != model.card.graphs["fp32"].sha256 or set(ranges.histograms) != set(everything.tensors):
        raise BadInput(f"expected histograms of {model.directory}/fp32.onnx ({model.card.graphs['fp32'].sha256[:12]}), "
                       f"found those of another graph ({ranges.graph_sha256[:12]}); take them with this model")
    thresholds = {name: choose_threshold(h, method, percentile) for name, h in ranges.histograms.items()}
    scales = {name: scale_of(t) for name, t in thresholds.items()}
    contents = {
        "int8": quantize(fp32, chosen_nodes, scales, "cpu").SerializeToString(),
        "int8-gpu": half_from_onnx(quantize(fp32, chosen_nodes, scales, "gpu")).SerializeToString(),
    }
    bounds = {graph: golden_bound(model, graph, content) for graph, content in contents.items()}
    with replacing_directory(model.directory, keep_files=True) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        (directory / RANGES_FILE).write_bytes(encode_ranges(ranges))
        (directory / LIST_FILE).unlink(missing_ok=True)
        if image_list is not None:
            (directory / LIST_FILE).write_bytes(image_list)
        beside = {"ranges": RANGES_FILE} | ({"list": LIST_FILE} if image_list is not None else {})
        card = dataclasses.replace(
            model.card,
            graphs=model.card.graphs | {g: FileEntry.of(directory / f"{g}.onnx") for g in contents},
            golden_bound=model.card.golden_bound | bounds,
            calibration={
                "method": method, "percentile": percentile if method == "percentile" else None,
                "images": ranges.images, "images_sha256": ranges.images_sha256, "images_from": chosen,
                "files": {what: dataclasses.asdict(FileEntry.of(directory / name)) for what, name in beside.items()},
                "thresholds": {name: float(t) for name, t in thresholds.items()},
                "quantized_nodes": len(chosen_nodes.nodes), "kept_float": list(chosen_nodes.kept_float),
                "warnings": list(warn_of_zeros(fp32, chosen_nodes, ranges.histograms)),
            },
        )
        save_card(directory, card)
    return card


def golden_bound(model: Model, graph: str, content: bytes) -> float:
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
