"""A model directory → the same function with channels of more equal size, which INT8 then keeps better.

Rewrites fp32.onnx and fp16.onnx; INT8 goes, being of the graph before: `mien calibrate` makes it again. Knows no data
set.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from calibration.channel_ranges import channel_ranges
from calibration.equalize import equalize, find_pairs
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images
from export.changing_model import changing_model
from export.half_from_onnx import half_from_onnx
from export.int8.int8_from_onnx import LIST_FILE, RANGES_FILE
from export.model_from_checkpoint import BOUNDS
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError


def equalize_model(model: Model, faces: np.ndarray, alpha: float) -> ModelCard:
    """Equalize a model on (N, C, H, W) uint8 calibration faces; returns the new card, without INT8.

    alpha: see `calibration.equalize.channel_factors`. Raises BadInput where no two layers may share factors, and
    MienError where a graph would leave PyTorch's golden logits, or where another command has changed the model
    meanwhile; then nothing is written.
    """
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    pairs = find_pairs(fp32)
    if not pairs:
        raise BadInput(f"expected two layers in {model.directory} with only ReLU or pooling between them, found none; "
                       "its channels cannot be equalized: try mien calibrate --correct-biases")
    tensors = list(dict.fromkeys(tensor for pair in pairs for tensor in pair.tensors))
    graph = equalize(fp32, channel_ranges(fp32, tensors, faces), alpha)
    contents = {"fp32": graph.SerializeToString(), "fp16": half_from_onnx(graph).SerializeToString()}
    departures = {name: _departure(model, name, content) for name, content in contents.items()}
    for name, delta in departures.items():
        if not delta <= BOUNDS[name]:
            raise MienError(f"expected the equalized {name} within {BOUNDS[name]} of PyTorch on the golden faces, "
                            f"found {delta:.3g}; nothing was written: take a smaller --alpha")
    kept = {name: entry for name, entry in model.card.graphs.items() if not name.startswith("int8")}
    with changing_model(model) as directory:
        for name in (*(f"{g}.onnx" for g in model.card.graphs if g not in kept), RANGES_FILE, LIST_FILE):
            (directory / name).unlink(missing_ok=True)
        for name, content in contents.items():
            (directory / f"{name}.onnx").write_bytes(content)
        card = dataclasses.replace(
            model.card, graphs=kept | {name: FileEntry.of(directory / f"{name}.onnx") for name in contents},
            golden_bound={name: model.card.golden_bound[name] for name in kept}, calibration={},
            metrics=model.card.metrics | {"equalized": {
                "from_fp32": model.card.graphs["fp32"].sha256, "alpha": alpha, "pairs": len(pairs),
                "images": len(faces), "images_sha256": hash_images(faces), "worst_delta": departures}})
        save_card(directory, card)
    return card


def _departure(model: Model, name: str, content: bytes) -> float:
    golden = model.read_golden()
    engine = OnnxRuntimeEngine(content, f"{name}.onnx", name)
    logits = engine.run({model.card.input_name: golden.faces})[model.card.output_name]
    return float(np.abs(logits.astype(np.float64) - golden.logits).max())
