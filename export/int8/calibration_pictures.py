"""Pictures of a calibration: the faces it saw, each tensor's histogram with its threshold, each layer's cost.

They draw what they are given and measure nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibration.clipping import clipped_share
from calibration.sensitivity import Layer
from runtime.histogram import Histogram
from train.expression.pictures.style import BLUE, ORANGE, QUIET, RED, SKY, look

SHEET_FACES, SHEET_COLUMNS = 128, 16
_GROUP = 32  # bins of a histogram that make one step of its picture: 4,096 → 128
_COLUMNS = 3
_NAME = 26  # letters of a name that fit above a histogram
_LEAST_KL = 1e-7  # nats: below, float32's own rounding speaks


def spread_over(count: int, most: int = SHEET_FACES) -> np.ndarray:
    """Return at most `most` indices below `count`, evenly apart."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def contact_sheet(faces: np.ndarray) -> str:
    """Return faces (N, C, H, W) uint8, grey or RGB, side by side as a `data:` address of one PNG."""
    count, channels, height, width = faces.shape
    columns = min(SHEET_COLUMNS, count)
    rows = -(-count // columns)
    cells = np.full((rows * columns, channels, height, width), 255, dtype=np.uint8)
    cells[:count] = faces
    sheet = cells.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)[..., ::-1]  # OpenCV writes BGR
    _, png = cv2.imencode(".png", np.ascontiguousarray(sheet))
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()


def draw_histograms(histograms: Mapping[str, Histogram], thresholds: Mapping[str, float]) -> Figure:
    """Draw the share of values by magnitude, on a logarithmic axis; what lies beyond the threshold in red."""
    rows = -(-len(histograms) // _COLUMNS)
    with look():
        figure = Figure(figsize=(10, 1.9 * rows))
        plots = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, (name, histogram) in zip(plots, histograms.items()):
            axes.set_title(_short(name), parse_math=False, fontsize=9.5)
            axes.tick_params(labelsize=7.5)
            if histogram.largest:
                _draw_histogram(axes, histogram, thresholds[name])
            else:
                axes.text(0.5, 0.5, "zero on every image", transform=axes.transAxes, ha="center", va="center")
        for axes in plots[len(histograms) :]:
            axes.set_axis_off()
        figure.supylabel("share of values", fontsize=9)
        figure.supxlabel("magnitude", fontsize=9)
    return figure


def _draw_histogram(axes: Axes, histogram: Histogram, threshold: float) -> None:
    shares = histogram.counts.reshape(-1, _GROUP).sum(axis=1) / histogram.total
    edges = np.linspace(0, histogram.limit, len(shares) + 1)
    foot = shares[shares > 0].min() / 3
    inside = edges[:-1] < threshold
    axes.stairs(np.maximum(shares, foot), edges, fill=True, baseline=foot, color=SKY)
    axes.stairs(np.where(inside, foot, np.maximum(shares, foot)), edges, fill=True, baseline=foot, color=RED)
    axes.axvline(threshold, color=ORANGE, linewidth=1.4)
    axes.set_yscale("log")
    axes.minorticks_off()  # nothing to read from, and they weigh in the page
    axes.set_xlim(0, histogram.largest * 1.03)
    axes.set_ylim(foot, 1.5 * shares.max())
    axes.set_title(f"clips {share_text(clipped_share(histogram, threshold))}", loc="right", fontsize=8.5,
                   fontweight="normal")


def draw_layers(layers: Sequence[Layer], left_in_half: Sequence[str]) -> Figure:
    """Draw each layer's SQNR and KL when it alone is quantized, in the graph's order; orange where left in half."""
    places = np.arange(len(layers))
    colours = [ORANGE if layer.name in left_in_half else BLUE for layer in layers]
    with look():
        figure = Figure(figsize=(10, 1.3 + 0.26 * len(layers)))
        noise, cost = figure.subplots(1, 2, sharey=True)
        noise.barh(places, [layer.sqnr for layer in layers], color=colours, height=0.7)
        noise.set(title="Its output's signal over noise", xlabel="SQNR, dB")
        cost.barh(places, [max(layer.cost.kl, _LEAST_KL) for layer in layers], color=colours, height=0.7)
        cost.set(title="What it changes in the answers", xlabel="KL from FP32, nats")
        cost.set_xscale("log")
        noise.set_yticks(places, [_short(layer.name) for layer in layers], parse_math=False, fontsize=8.5)
        noise.invert_yaxis()
        for axes in (noise, cost):
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            axes.spines["left"].set_color(QUIET)
    return figure


def share_text(share: float) -> str:
    """Return a share of 0–1 in percent with two figures, however small."""
    return f"{100 * share:.2g} %"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[-_NAME + 1 :]}"
