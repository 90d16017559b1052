"""Reliability diagram: how often answers are right against how sure they are, before and after a temperature.

Guo et al., "On calibration of modern neural networks", ICML 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from train.expression.pictures.style import BLUE, ORANGE, QUIET, look, percent_axis


def draw_reliability(calibrations: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Draw one line a calibration, as `evaluate` reports it: {what to call it: {"ece", "bins"}}; two at most."""
    with look():
        figure = Figure(figsize=(5.2, 5.4))
        diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        diagram.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
        for (name, calibration), colour, side in zip(calibrations.items(), (ORANGE, BLUE), (-0.5, 0.5)):
            bins = calibration["bins"]
            held = [i for i, images in enumerate(bins["images"]) if images]
            confidence, accuracy = ([bins[key][i] for i in held] for key in ("confidence", "accuracy"))
            diagram.plot(confidence, accuracy, marker="o", markersize=4.5, color=colour,
                         label=f"{name}: ECE {100 * calibration['ece']:.1f} %")
            width = 1 / len(bins["images"]) * 0.42
            centres = (np.arange(len(bins["images"])) + 0.5) / len(bins["images"])
            counts.bar(centres + side * width, bins["images"], width=width, color=colour)
        diagram.set_ylabel("accuracy")
        diagram.set_ylim(0, 1)
        diagram.set_xlim(0, 1)
        diagram.set_title(title)
        diagram.grid()
        diagram.legend(loc="upper left")
        percent_axis(diagram, "y")
        counts.set_ylabel("images")
        counts.set_xlabel("probability of the answer")
        percent_axis(counts, "x")
    return figure
