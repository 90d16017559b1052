"""One face beside how probable each expression is, as the papers show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from train.expression.pictures.style import BLUE, SKY, look, percent_axis


def draw_probabilities(face: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str], title: str) -> Figure:
    """Draw a face as the network sees it, (C, H, W) uint8 grey or RGB, and its (classes,) probabilities, best first."""
    order = np.argsort(-probabilities, kind="stable")
    shares = probabilities[order]
    with look():
        figure = Figure(figsize=(7.2, 0.9 + 0.34 * max(6, len(order))))
        picture, bars = figure.subplots(1, 2, width_ratios=(1, 1.7))
        grey = len(face) == 1
        picture.imshow(face[0] if grey else face.transpose(1, 2, 0), cmap="gray" if grey else None, vmin=0, vmax=255)
        picture.set_axis_off()
        picture.set_title(title)
        places = np.arange(len(order))
        bars.barh(places, shares, color=[BLUE] + [SKY] * (len(order) - 1), height=0.7)
        for place, share in zip(places, shares):
            bars.annotate(f"{100 * share:.1f} %", (share, place), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=9)
        bars.set_yticks(places, [label_names[i] for i in order])
        bars.tick_params(axis="y", length=0)
        bars.invert_yaxis()
        bars.set_xlim(0, 1.14)
        bars.set_xticks([0, 0.25, 0.5, 0.75, 1])
        percent_axis(bars, "x")
        bars.set_xlabel("probability")
        bars.spines["left"].set_visible(False)
        bars.spines["bottom"].set_bounds(0, 1)
    return figure
