"""A calibrated model and its checkpoint → the scale in front of every PyTorch module; and a fine-tuned model's INT8.

Joins what the calibration room chose to what the train room trains. Knows no data set.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from torch import nn

from calibration.onnx_graph import Graph, parse_model
from calibration.pixel_grid import grid_in_use
from calibration.quantize import plan, quantize
from calibration.ranges import scale_of
from export.changing_model import changing_model
from export.golden_bound import golden_bound
from export.half_from_onnx import half_from_onnx
from runtime.agreement import compare
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.engines import open_engine
from runtime.engines.face_batches import engine_logits, run_all
from runtime.errors import BadInput
from train.fake_quantize import InputGrid, fold_batch_norms

SAME = 1e-4  # of a layer's largest weight: batch norms folded in another order differ by a few units of 1e-7


def thresholds_of(model: Model) -> dict[str, float]:
    """Return the magnitudes that a model's INT8 graphs clip at, by tensor. Raises BadInput where it has none."""
    thresholds = model.card.calibration.get("thresholds")
    if not thresholds:
        raise BadInput(f"expected a calibrated model, found {model.directory} without ranges; "
                       f"mien calibrate {model.directory} --images PATH first")
    return {name: float(threshold) for name, threshold in thresholds.items()}


def input_grids(fp32: onnx.ModelProto, thresholds: Mapping[str, float], network: nn.Module,
                kept_float: Collection[str] = ()) -> dict[str, InputGrid]:
    """Return what the Q in front of every module that has one rounds to, as `fake_quantize` takes them.

    kept_float: layers of the graph that INT8 leaves in half, and so does the training.
    A layer is found by its weights' name, which the exporter keeps, and believed only where the network's folded
    weights are the graph's; a mean over places by the order of execution. Raises BadInput where the graph is not this
    network's, or has a Q that no module answers to.
    """
    scales = {name: scale_of(threshold) for name, threshold in thresholds.items()}
    chosen = plan(fp32, kept_float)
    if set(plan(fp32).tensors) != set(scales):
        raise BadInput("expected ranges of this graph's tensors, found others; mien calibrate again")
    floats, rounded = Graph(fp32), Graph(quantize(fp32, chosen, scales, "gpu"))
    nodes = {node.name: node for node in floats.nodes}
    folded = fold_batch_norms(copy.deepcopy(network)).eval()
    modules = dict(folded.named_modules())
    pools = [name for name, module in modules.items() if isinstance(module, nn.AdaptiveAvgPool2d)]
    found: dict[str, InputGrid] = {}
    pixels = grid_in_use(floats, scales, chosen.nodes)
    for node in rounded.nodes:
        scale = _scale_before(rounded, node)
        if scale is None:
            continue
        if node.name in chosen.nodes:
            shift = pixels.shift if pixels and node.name in pixels.layers else 0.0
            found[_module_of(floats, nodes[node.name], modules)] = InputGrid(scale, shift)
        elif pools and node.op_type != "Add":
            found[pools.pop(0)] = InputGrid(scale)
        else:
            raise BadInput(f"expected a module for the rounded input of {node.name}, found none; this network cannot "
                           "be fine-tuned")
    return found


def _scale_before(rounded: Graph, node: onnx.NodeProto) -> float | None:
    """Return the scale of the activation that a node reads from a Q and DQ, or None."""
    for tensor in node.input:  # of a residual addition either may be the skip branch
        pair = rounded.producers.get(tensor)
        if pair is not None and pair.op_type == "DequantizeLinear" and pair.input[0] not in rounded.weights:
            return float(rounded.weight(pair.input[1]))
    return None


def _module_of(floats: Graph, node: onnx.NodeProto, modules: Mapping[str, nn.Module]) -> str:
    name = str(node.input[1]).removesuffix(".weight")
    module, wanted = modules.get(name), floats.weight(node.input[1])
    own = module.weight.detach().numpy() if isinstance(module, nn.Conv2d | nn.Linear) else np.zeros(0)
    if own.shape != wanted.shape or not np.abs(own - wanted).max() <= SAME * np.abs(wanted).max():
        raise BadInput(f"expected the checkpoint that the graph was exported from, found other weights in "
                       f"{node.input[1]}; give the --model that was made of this checkpoint")
    return name


def carry_over_int8(model: Model, before: ModelCard) -> ModelCard:
    """Write both INT8 graphs of a fine-tuned model with the scales of the one it comes from; return the new card.

    What that one kept float stays float. Its histograms and image list stay behind: they are of the other graph. Raises
    BadInput, and MienError where the result departs beyond sense or another command has changed the model meanwhile;
    then nothing is written.
    """
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    kept = before.calibration.get("kept_float", ())
    chosen = plan(fp32, kept)
    if missing := sorted(set(kept) - set(chosen.kept_float)):
        raise BadInput(f"expected the layer {missing[0]}, which was kept float, in {model.directory}/fp32.onnx, found "
                       "none of that name; mien calibrate it with --keep-float")
    scales = {name: scale_of(threshold) for name, threshold in before.calibration["thresholds"].items()}
    pixels = grid_in_use(Graph(fp32), scales, chosen.nodes)
    contents = {"int8": quantize(fp32, chosen, scales, "cpu").SerializeToString(),
                "int8-gpu": half_from_onnx(quantize(fp32, chosen, scales, "gpu")).SerializeToString()}
    bounds = {graph: golden_bound(model, graph, content) for graph, content in contents.items()}
    with changing_model(model) as directory:
        for graph, content in contents.items():
            (directory / f"{graph}.onnx").write_bytes(content)
        card = dataclasses.replace(
            model.card, golden_bound=model.card.golden_bound | bounds,
            graphs=model.card.graphs | {g: FileEntry.of(directory / f"{g}.onnx") for g in contents},
            calibration=before.calibration | {
                "files": {}, "ranges_of_fp32": before.graphs["fp32"].sha256, "quantized_nodes": len(chosen.nodes),
                "kept_float": list(chosen.kept_float), "biases_corrected": False,
                "exact_pixels": pixels.tensor if pixels else None})
        save_card(directory, card)
    return card


def compare_fine_tuned(before: Model, after: Model, faces: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Measure INT8 before, and both precisions after, against FP32 before, on (N, C, H, W) uint8 faces, labels (N,)."""
    reference = run_all(engine_logits(open_engine(before, "fp32", "cpu"), before), faces, "fp32")
    figures: dict[str, Any] = {"images": len(labels),
                               "fp32_accuracy": round(float((reference.argmax(1) == labels).mean()), 6)}
    for name, model, precision in (("int8", before, "int8"), ("fine_tuned_fp32", after, "fp32"),
                                   ("fine_tuned_int8", after, "int8")):
        logits = run_all(engine_logits(open_engine(model, precision, "cpu"), model), faces, name)
        found = compare(reference, logits, labels, before.card.labels)
        figures[name] = {"accuracy": round(found.accuracy_engine, 6), "agreement": round(found.agreement, 6),
                         "mean_kl": round(found.mean_kl, 8)}
    return figures
