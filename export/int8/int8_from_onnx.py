"""fp32.onnx and faces, or what faces showed → int8.onnx (CPU form) and int8-gpu.onnx (GPU form) in the model directory.

Joins the calibration room's steps; knows nothing of data sets. The histograms stay beside the graphs as `ranges.hist`,
so that the model can be calibrated again, by another method or with more light, without an image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.bias_correction import correct_biases
from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import choose_thresholds, grid_in_use
from calibration.quantize import plan, quantize
from calibration.ranges import Method, choose_threshold, scale_of
from calibration.zero_ranges import warn_of_zeros
from export.changing_model import changing_model
from export.golden_bound import golden_bound
from export.half_from_onnx import half_from_onnx
from export.int8.observe_model import observe_model
from runtime.agreement import kl_divergence
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.engines.face_batches import engine_logits, run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput
from runtime.histogram import Histogram
from runtime.ranges_file import ActivationRanges, encode_ranges

RANGES_FILE, LIST_FILE = "ranges.hist", "images.json"

@dataclass(frozen=True)
class Rounding:
    """How a graph is rounded: the ranges' method, what stays float, and what is done about the error."""

    method: Method = "percentile"
    percentile: float = 99.999
    keep_float: tuple[str, ...] = ()  # nodes of fp32.onnx to leave in float (half in the GPU form)
    correct_biases: bool = False  # needs the calibration faces
    draws: int = 0  # of legal backends, which the golden bounds are derived from; 0 measures them here


def int8_from_onnx(model: Model, faces: np.ndarray, how: Rounding, chosen: dict[str, Any]) -> ModelCard:
    """Calibrate on (N, C, H, W) uint8 faces, write both INT8 graphs and the new card; `chosen` says which faces.

    Raises BadInput, BadModel; MienError where the result departs beyond sense, or where another command has changed the
    model meanwhile; then nothing is written.
    """
    require_rounding(model, how)
    return int8_from_ranges(model, observe_model(model, faces, keep_state=False), how, chosen, faces=faces)


def require_rounding(model: Model, how: Rounding) -> None:
    """Refuse, before the faces are observed, what would be found wrong afterwards.

    Raises BadInput for a percentile out of range, fewer than no draws, a node to keep in float that is no layer of the
    graph's; an attention gate, which always is kept, may be named.
    """
    if how.draws < 0:
        raise BadInput(f"expected 0 or more backends to draw, found {how.draws}; 59 is usual")
    choose_threshold(Histogram(), how.method, how.percentile)  # nothing seen: only method and percentile are judged
    everything = plan(parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx")))
    layers = everything.nodes
    unknown = sorted(set(how.keep_float) - set(layers) - set(everything.kept_float))
    if unknown:
        raise BadInput(f"expected layers that INT8 would quantize, found {unknown[0]}; they are {', '.join(layers)}")
    if set(layers) <= set(how.keep_float):
        raise BadInput(f"expected a layer to quantize, found all {len(layers)} kept float; fp16.onnx is that model")


def int8_from_ranges(model: Model, ranges: ActivationRanges, how: Rounding, chosen: dict[str, Any],
                     image_list: bytes | None = None, faces: np.ndarray | None = None) -> ModelCard:
    """Write both INT8 graphs, the histograms they come from and, if given, the image list; return the new card.

    Without one, the list that is there stays if `chosen` still names it: of merged histograms it lists the first faces.
    faces: those of the ranges, to correct biases on. Raises as `int8_from_onnx`, and BadInput for histograms of another
    graph, or for biases to correct without faces.
    """
    require_rounding(model, how)
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    everything, chosen_nodes = plan(fp32), plan(fp32, how.keep_float)
    if ranges.graph_sha256 != model.card.graphs["fp32"].sha256 or set(ranges.histograms) != set(everything.tensors):
        raise BadInput(f"expected histograms of {model.directory}/fp32.onnx ({model.card.graphs['fp32'].sha256[:12]}), "
                       f"found those of another graph ({ranges.graph_sha256[:12]}); take them with this model")
    thresholds = choose_thresholds(fp32, ranges.histograms, how.method, how.percentile, chosen_nodes.nodes)
    scales = {name: scale_of(t) for name, t in thresholds.items()}
    pixels = grid_in_use(Graph(fp32), scales, chosen_nodes.nodes)
    if how.correct_biases and faces is None:
        raise BadInput("expected calibration faces to correct biases on, found histograms alone; leave "
                       "--correct-biases out, or give --images")
    rounded = fp32 if faces is None or not how.correct_biases else correct_biases(fp32, scales, faces, how.keep_float)
    contents = {
        "int8": quantize(rounded, chosen_nodes, scales, "cpu").SerializeToString(),
        "int8-gpu": half_from_onnx(quantize(rounded, chosen_nodes, scales, "gpu")).SerializeToString(),
    }
    warnings = list(warn_of_zeros(fp32, chosen_nodes, ranges.histograms))
    if rounded is not fp32 and faces is not None:
        plain = quantize(fp32, chosen_nodes, scales, "cpu").SerializeToString()
        warnings += _corrected_in_vain(model, plain, contents["int8"], faces)
    bounds = {graph: golden_bound(model, graph, content, how.draws) for graph, content in contents.items()}
    with changing_model(model) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        (directory / RANGES_FILE).write_bytes(encode_ranges(ranges))
        listed = image_list is not None or _still_listed(model, chosen, directory / LIST_FILE)
        if image_list is not None:
            (directory / LIST_FILE).write_bytes(image_list)
        elif not listed:
            (directory / LIST_FILE).unlink(missing_ok=True)
        beside = {"ranges": RANGES_FILE} | ({"list": LIST_FILE} if listed else {})
        card = dataclasses.replace(
            model.card,
            graphs=model.card.graphs | {g: FileEntry.of(directory / f"{g}.onnx") for g in contents},
            golden_bound=model.card.golden_bound | bounds,
            calibration={
                "method": how.method, "percentile": how.percentile if how.method == "percentile" else None,
                "images": ranges.images, "images_sha256": ranges.images_sha256, "images_from": chosen,
                "files": {what: dataclasses.asdict(FileEntry.of(directory / name)) for what, name in beside.items()},
                "thresholds": {name: float(t) for name, t in thresholds.items()},
                "quantized_nodes": len(chosen_nodes.nodes), "kept_float": list(chosen_nodes.kept_float),
                "biases_corrected": how.correct_biases,
                "exact_pixels": pixels.tensor if pixels else None,
                "golden_bound_from": f"{how.draws} legal backends" if how.draws else "twice the departure measured",
                "warnings": warnings,
            },
        )
        save_card(directory, card)
    return card


def _corrected_in_vain(model: Model, plain: bytes, corrected: bytes, faces: np.ndarray) -> list[str]:
    """Return a warning where INT8 with corrected biases is farther from FP32 than without, on the faces of both."""
    engines = (OnnxRuntimeEngine(model.read_graph("fp32"), "fp32.onnx", "fp32"),
               *(OnnxRuntimeEngine(content, "int8.onnx", "int8") for content in (plain, corrected)))
    fp32, without, having = (run_all(engine_logits(engine, model), faces, "biases") for engine in engines)
    before, after = (float(kl_divergence(fp32, logits).mean()) for logits in (without, having))
    if after <= before:
        return []
    return [f"corrected biases took INT8 away from FP32: on the calibration faces KL {before:.2g} → {after:.2g} nats; "
            "calibrate without --correct-biases"]


def _still_listed(model: Model, chosen: dict[str, Any], path: Path) -> bool:
    """Is this the list that the card knows, and that the faces now chosen began with?"""
    facts = model.card.calibration
    entry, named = facts.get("files", {}).get("list"), facts.get("images_from", {}).get("list_sha256")
    return (named is not None and named == chosen.get("list_sha256") and path.is_file()
            and dataclasses.asdict(FileEntry.of(path)) == entry)
