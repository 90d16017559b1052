"""A calibrated model and held-out faces → what INT8 costs in each layer, and the mix that keeps a budget; and pictures.

Joins the calibration room's search to a model directory. Knows no data set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibration.onnx_graph import parse_model
from calibration.pixel_grid import on_grid
from calibration.ranges import scale_of
from calibration.sensitivity import Cost, Found, Layer, Mix, Trial, fewest_float, front
from runtime.card import Model
from runtime.errors import BadInput
from train.expression.pictures.style import BLUE, GREEN, ORANGE, look, percent_axis, save_png


@dataclass(frozen=True)
class Sensitivity:
    """Every layer alone, and the search for a budget of `budget` points; `fp32_accuracy` is 0–1, on the same faces."""

    layers: tuple[Layer, ...]
    budget: float
    found: Found
    fp32_accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {"fp32_accuracy": self.fp32_accuracy, "budget_points": self.budget,
                "layers": [asdict(layer) for layer in self.layers],
                "mix": None if self.found.mix is None else asdict(self.found.mix),
                "front": [asdict(mix) for mix in front(self.found.measured)],
                "measured": [asdict(mix) for mix in self.found.measured]}


def find_mix(model: Model, faces: np.ndarray, labels: np.ndarray, budget: float, state: Path | None) -> Sensitivity:
    """Measure each layer and search; the ranges are those the model was calibrated with, pixels on their grid, as
    `mien calibrate` will have them whatever it did then. Raises BadInput.

    faces: (N, C, H, W) uint8, labels: (N,), from neither the calibration nor the reported images.
    """
    thresholds = model.card.calibration.get("thresholds")
    if not thresholds:
        raise BadInput(f"expected a calibrated model, found {model.directory} without ranges; "
                       f"mien calibrate {model.directory} --images PATH first")
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    scales = {name: scale_of(t) for name, t in on_grid(fp32, thresholds).items()}
    trial = Trial(fp32, scales, faces, labels, state)
    layers = trial.layers()
    return Sensitivity(layers, budget, fewest_float(trial, budget, layers), trial.accuracy)


def require_budget(budget: float) -> None:
    """Refuse, before faces are loaded, a budget that every mix would keep, or none. Raises BadInput."""
    if not math.isfinite(budget):
        raise BadInput(f"expected a finite --budget in points of accuracy, found {budget}")


def mix_lines(found: Sensitivity, model: Model) -> list[str]:
    """Return the layers, the front and the verdict for people."""
    wide = max(len(layer.name) for layer in found.layers)
    lines = [f"{layer.name:<{wide}}  {layer.multiply_adds / 1e6:8.2f} M multiply-adds  SQNR {layer.sqnr:5.1f} dB  "
             f"KL {layer.cost.kl:.6f}  accuracy {_change(layer.cost)} points" for layer in found.layers]
    lines.append(f"FP32 is right on {found.fp32_accuracy:.1%} of these faces")
    lines += [_mix_line(mix) for mix in front(found.found.measured)]
    best = found.found.mix
    if best is None:
        return [*lines, f"no mix keeps {found.budget} points, not even one layer in INT8: take fp16, or other faces"]
    lines.append(f"{found.budget} points are kept with {best.int8_share:.1%} of the multiply-adds in INT8" + (
        f"; left in half precision: {', '.join(best.kept_float)}" if best.kept_float else ""))
    return lines + [f"note: {said}" for said in doubts(best, model)]


def _mix_line(mix: Mix) -> str:
    return (f"{mix.int8_share:6.1%} in INT8, {len(mix.kept_float)} layers kept  accuracy "
            f"{_change(mix.cost)} points  agreement {mix.cost.agreement:.2%}")


def _change(cost: Cost) -> str:
    return f"{0.0 - cost.accuracy_drop:+.2f}"  # 0.0 - 0.0 is no -0.0


def doubts(mix: Mix, model: Model) -> tuple[str, ...]:
    """Say where INT8 would bring little over FP16; a device's own bench has the last word."""
    said = []
    sizes = {graph: entry.bytes for graph, entry in model.card.graphs.items()}
    if "int8-gpu" in sizes and sizes["int8-gpu"] > 0.9 * sizes["fp16"]:
        said.append(f"int8-gpu.onnx ({sizes['int8-gpu'] / 1e6:.2f} MB) is hardly smaller than fp16.onnx "
                    f"({sizes['fp16'] / 1e6:.2f} MB)")
    if mix.int8_share < 0.5:
        said.append("most multiply-adds would run in half precision: fp16 is likely as fast, and simpler")
    return tuple(said)


def draw_sensitivity(found: Sensitivity, title: str, path: Path) -> None:
    """Draw each layer's KL and SQNR, and the accuracy–cost front, as a PNG."""
    with look():
        figure = Figure(figsize=(11, 1.9 + 0.26 * len(found.layers)))
        bars, mixes = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_layers(bars, found)
        measured, best = front(found.found.measured), found.found.mix
        mixes.plot([m.int8_share for m in found.found.measured], [-m.cost.accuracy_drop for m in found.found.measured],
                   "o", color=BLUE, alpha=0.35, markersize=5, label="measured")
        mixes.plot([m.int8_share for m in measured], [-m.cost.accuracy_drop for m in measured], "o-", color=BLUE,
                   markersize=6, label="front")
        if best is not None:
            mixes.plot(best.int8_share, -best.cost.accuracy_drop, "o", color=GREEN, markersize=11, fillstyle="none",
                       markeredgewidth=2.2, label="chosen")
        mixes.axhline(-found.budget, color=ORANGE, linestyle="--", label="budget")
        mixes.set(title="Mixes", xlabel="multiply-adds in INT8", ylabel="accuracy change, points")
        percent_axis(mixes, "x")
        mixes.legend(loc="best")
        figure.suptitle(title, x=0.01, ha="left")
    save_png(figure, path)


def _draw_layers(axes: Any, found: Sensitivity) -> None:
    rows: Sequence[int] = range(len(found.layers))
    kept = set(found.found.mix.kept_float) if found.found.mix else set()
    axes.barh(rows, [layer.cost.kl for layer in found.layers],
              color=[ORANGE if layer.name in kept else BLUE for layer in found.layers])
    for row, layer in zip(rows, found.layers):
        axes.text(1.01, row, f"{layer.sqnr:.0f} dB", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.set_yticks(rows, [layer.name for layer in found.layers], fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xscale("log")
    axes.set(title="Each layer alone in INT8; its output's SQNR beside" + (" (orange: left in half)" if kept else ""),
             xlabel="KL from FP32, nats")
