"""What equalization and bias correction win back of what INT8 cost: each repair from and on the same faces.

`python -m export.int8.compare_repairs MODEL --data PATH --record FILE`. Calibrates on FER2013's training faces and
measures on its PublicTest, with ONNX Runtime's fusions off. Writes no model. Fine-tuning is apart (`mien fine-tune`):
it takes longer than all of these.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from calibration.bias_correction import correct_biases
from calibration.channel_ranges import channel_ranges
from calibration.equalize import equalize, find_pairs
from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images, pick_random
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize
from export.gate.record import save_figures
from runtime.agreement import compare
from runtime.card import Model, load_model
from runtime.command_line import say
from runtime.engines.face_batches import engine_logits, run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.machine import describe_machine
from runtime.preprocess import prepare_faces
from train.datasets.fer2013 import load_fer2013

ALPHAS = (0.0, 0.5, 1.0)  # of the dense pairs: untouched, the default, activations as even as can be
PERCENTILE = 99.999
PROOF = 64  # faces on which each float graph is held against the one that was exported


def scales_of(graph: onnx.ModelProto, faces: np.ndarray) -> dict[str, np.float32]:
    """Observe (N, C, H, W) uint8 faces and return every scale, as `mien calibrate` does by default."""
    histograms = observe(graph, plan(graph).tensors, faces)
    return choose_scales(graph, histograms, "percentile", PERCENTILE)


def repairs(fp32: onnx.ModelProto, faces: np.ndarray) -> Iterator[tuple[str, onnx.ModelProto, onnx.ModelProto]]:
    """Yield (name, the float graph that was rounded, its INT8 form) of no repair, each one and both."""
    tensors = list(dict.fromkeys(tensor for pair in find_pairs(fp32) for tensor in pair.tensors))
    ranges = channel_ranges(fp32, tensors, faces)
    graphs = {"none": fp32} | {f"equalized, alpha {a}": equalize(fp32, ranges, a) for a in ALPHAS}
    for name, graph in graphs.items():
        scales = scales_of(graph, faces)
        yield name, graph, quantize(graph, plan(graph), scales, "gpu")
        if name in ("none", "equalized, alpha 0.5"):
            corrected = correct_biases(graph, scales, faces)
            label = "biases corrected" if name == "none" else f"{name}, biases corrected"
            yield label, graph, quantize(corrected, plan(corrected), scales, "gpu")


def compare_repairs(model: Model, calibration: np.ndarray, faces: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Measure every repair of a model's fp32.onnx; all faces (N, C, H, W) uint8, labels (N,) of `faces`."""
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))

    def logits(graph: onnx.ModelProto, some: np.ndarray = faces) -> np.ndarray:
        engine = OnnxRuntimeEngine(graph.SerializeToString(), "int8-gpu", "int8", fuse_qdq=False)
        return run_all(engine_logits(engine, model), some, "logits")

    reference = logits(fp32)
    rows = []
    for name, graph, rounded in repairs(fp32, calibration):
        found = compare(reference, logits(rounded), labels, model.card.labels)
        rows.append({"repair": name, "accuracy": round(found.accuracy_engine, 6),
                     "agreement": round(found.agreement, 6), "mean_kl": round(found.mean_kl, 8),
                     "float_delta": float(np.abs(logits(graph, faces[:PROOF]) - reference[:PROOF]).max())})
        say(f"{name:<40} accuracy {found.accuracy_engine:.4f}  agreement {found.agreement:.2%}  KL {found.mean_kl:.5f}")
    return {"fp32_accuracy": round(float((reference.argmax(1) == labels).mean()), 6), "rows": rows,
            "pairs": [asdict(pair) for pair in find_pairs(fp32)]}


def main() -> None:
    """Read the flags, draw the faces, measure, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a model directory, or a shipped model's name")
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("-n", type=int, default=128, help="how many training faces to calibrate on")
    parser.add_argument("--held-out", type=int, default=3589, help="how many PublicTest faces to measure on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    model, everything = load_model(args.model), load_fer2013(args.data)
    training, held_out = everything.split("Training"), everything.split("PublicTest")
    training = training.where(pick_random(len(training), args.n, args.seed))
    held_out = held_out.where(pick_random(len(held_out), min(args.held_out, len(held_out)), args.seed))
    calibration = prepare_faces(training.images, model.card.input)
    found = compare_repairs(model, calibration, prepare_faces(held_out.images, model.card.input), held_out.labels)
    save_figures(args.record, {
        "model": model.card.name, "fp32_sha256": model.card.graphs["fp32"].sha256,
        "percentile": PERCENTILE, "calibrated_on": {"split": "Training", "images": len(training), "seed": args.seed,
                                                    "images_sha256": hash_images(calibration)},
        "data": {"name": "fer2013", "splits": ["PublicTest"], "images": len(held_out), "seed": args.seed,
                 "sha256": everything.sha256()},
        **found, "made_on": describe_machine()})


if __name__ == "__main__":
    main()
