"""What each way of choosing calibration faces costs: accuracy and agreement of INT8 with FP32, by number of faces.

A pick of n holds the smaller picks of its seed, so one pass over the largest serves all. The faces to calibrate on and
those to measure on come in as arrays; knows no data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from calibration.observe import observe
from calibration.onnx_graph import parse_model
from calibration.pick_images import BY_FEATURES, Choice
from calibration.pixel_grid import choose_scales
from calibration.quantize import plan, quantize
from calibration.ranges import Method
from export.int8.calibrate import Selection, pick, pool_features
from export.int8.calibration_faces import FacePool
from runtime.agreement import compare
from runtime.card import Model
from runtime.engines import open_engine
from runtime.engines.face_batches import engine_logits, run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.histogram import Histogram
from train.expression.pictures.style import BLUE, GREEN, ORANGE, QUIET, RED, look, save_png

SIZES = (32, 64, 128, 256, 512, 1024, 2048)
SEEDS = (0, 1, 2, 3, 4)
_COLOURS = {"random": BLUE, "stratified": GREEN, "k-center": RED, "herding": ORANGE}


def compare_choices(model: Model, pool: FacePool, faces: np.ndarray, labels: np.ndarray, choices: Sequence[Choice],
                    method: Method, percentile: float, sizes: Sequence[int] = SIZES,
                    seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Calibrate on every choice, size and seed from a pool; measure each on (N, C, H, W) uint8 faces with labels (N,).

    Returns FP32's accuracy, a row a pick, and the mean of the seeds by choice and size. Writes nothing.
    """
    fp32 = parse_model(model.read_graph("fp32"), "fp32.onnx")
    chosen = plan(fp32)
    reference = run_all(engine_logits(open_engine(model, "fp32", "cpu"), model), faces, "FP32")
    features = pool_features(model, pool) if set(choices) & set(BY_FEATURES) else None
    rows: list[dict[str, Any]] = []
    turns = [(c, s) for c in choices for s in (seeds if c != "herding" else seeds[:1])]  # herding knows no seed
    for choice, seed in tqdm(turns, desc="choices", leave=False, disable=None):
        histograms = {tensor: Histogram() for tensor in chosen.tensors}
        seen = np.zeros(0, dtype=np.int64)
        for size in sorted(n for n in sizes if n <= len(pool.faces)):
            picks = pick(pool, Selection(choice, size, seed), features)
            more = observe(fp32, chosen.tensors, pool.faces[np.setdiff1d(picks, seen)])
            seen = picks
            for tensor, histogram in histograms.items():
                histogram.merge(more[tensor])
            scales = choose_scales(fp32, histograms, method, percentile)
            engine = OnnxRuntimeEngine(quantize(fp32, chosen, scales, "cpu").SerializeToString(), "int8", "int8")
            found = compare(reference, run_all(engine_logits(engine, model), faces, "INT8"), labels, model.card.labels)
            rows.append({"choice": choice, "images": size, "seed": seed, "accuracy": round(found.accuracy_engine, 6),
                         "agreement": round(found.agreement, 6), "mean_kl": round(found.mean_kl, 8)})
    return {"fp32_accuracy": round(float((reference.argmax(1) == labels).mean()), 6), "method": method,
            "percentile": percentile if method == "percentile" else None, "rows": rows, "means": means_of(rows)}


def means_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean, lowest and highest of every figure over the seeds, by choice and number of images."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["choice"], row["images"]), []).append(row)
    return [{"choice": choice, "images": images, "seeds": len(of)} | {
        figure: {"mean": round(float(np.mean([r[figure] for r in of])), 8), "low": min(r[figure] for r in of),
                 "high": max(r[figure] for r in of)} for figure in ("accuracy", "agreement", "mean_kl")}
        for (choice, images), of in groups.items()]


def comparison_lines(found: dict[str, Any]) -> list[str]:
    """Return the means for people, one line a choice and size."""
    return [f"{row['choice']:<10} {row['images']:>5} faces, {row['seeds']} seeds  accuracy "
            f"{100 * (row['accuracy']['mean'] - found['fp32_accuracy']):+.2f} points  agreement "
            f"{row['agreement']['mean']:.2%}  KL {row['mean_kl']['mean']:.5f}" for row in found["means"]]


def save_chart(found: dict[str, Any], path: Path) -> None:
    """Draw agreement, KL and accuracy over the number of images, means with the seeds' range, as a PNG."""
    with look():
        figure = Figure(figsize=(11, 3.6))
        panels = figure.subplots(1, 3)
        for axes, name, title in zip(panels, ("agreement", "mean_kl", "accuracy"),
                                     ("Labels as FP32", "KL from FP32, nats", "Accuracy")):
            for choice, colour in _COLOURS.items():
                of = [row for row in found["means"] if row["choice"] == choice]
                if of:
                    sizes = [row["images"] for row in of]
                    axes.plot(sizes, [row[name]["mean"] for row in of], "o-", color=colour, label=choice, markersize=3)
                    axes.fill_between(sizes, [row[name]["low"] for row in of], [row[name]["high"] for row in of],
                                      color=colour, alpha=0.15, linewidth=0)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sorted({row["images"] for row in found["means"]}))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
            axes.set(title=title, xlabel="calibration faces")
        panels[1].set_yscale("log")
        for axes in (panels[0], panels[2]):
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.1f} %")
        panels[2].axhline(found["fp32_accuracy"], color=QUIET, linestyle="--", label="FP32")
        panels[2].legend()
    save_png(figure, path)
