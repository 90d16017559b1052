"""Pictures of a check: every interval with its limit, confusion's change, both reliability curves, flipped faces.

They draw what they are given and measure nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.gate.answers import Answers, confusion
from export.gate.check import Finding
from runtime.agreement import Reliability
from train.expression.pictures.style import BLUE, INK, ORANGE, QUIET, RED, look, percent_axis

_EDGE = 3.0  # limits; what lies further is drawn there
VERDICT_COLOURS = {"pass": BLUE, "fail": RED, "inconclusive": ORANGE}


def draw_intervals(findings: Sequence[Finding], gating: int) -> Figure:
    """Draw each interval as shares of its limit, which is the line at 1; those from number `gating` on only report."""
    with look():
        figure = Figure(figsize=(9, 0.8 + 0.34 * len(findings)))
        axes = figure.subplots()
        ends: list[float] = []
        for place, f in enumerate(findings):
            unit = f.limit or 1.0
            low, value, high = (float(np.clip(end / unit, -_EDGE, _EDGE)) for end in (f.low, f.value, f.high))
            colour = VERDICT_COLOURS[f.verdict] if place < gating else QUIET
            axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
            marker = {_EDGE: ">", -_EDGE: "<"}.get(value, "o")  # an arrow: beyond what is drawn
            axes.plot(value, place, marker, color=colour, markersize=6)
            ends += [low, high]
        axes.axvline(1, color=INK, linewidth=1.4)
        axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(findings)), [f.name for f in findings], parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(findings) - 0.5, -0.5)
        axes.set_xlim(min(-0.2, *ends) - 0.05, max(1.2, *ends) + 0.05)
        axes.set_xlabel("share of what is allowed; the line at 1 is the limit")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    return figure


def draw_confusion_change(answers: Answers) -> Figure:
    """Draw how many more images of each label (rows) the engine gives each answer (columns) than the reference."""
    classes = len(answers.label_names)
    change = (confusion(answers.said_engine, answers.labels, classes)
              - confusion(answers.said_reference, answers.labels, classes))
    most = max(1, int(np.abs(change).max()))
    with look():
        figure = Figure(figsize=(4.9, 4.3))
        axes = figure.subplots()
        axes.imshow(change, cmap="PuOr_r", vmin=-most, vmax=most)
        for row, column in np.argwhere(change):
            colour = "white" if abs(change[row, column]) > 0.7 * most else "black"
            axes.text(column, row, f"{change[row, column]:+d}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(classes), answers.label_names, rotation=45, ha="right")
        axes.set_yticks(range(classes), answers.label_names)
        axes.set(title="Answers gained and lost", xlabel="answer", ylabel="label")
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0)
    return figure


def draw_reliability(answers: Answers) -> Figure:
    """Draw accuracy by confidence of both networks, at the card's temperature."""
    with look():
        figure = Figure(figsize=(4.9, 4.3))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
        for found, colour, name in zip(answers.reliability, (QUIET, BLUE), ("reference", "engine")):
            _curve(axes, found, colour, f"{name}, error {100 * found.error:.1f} %")
        axes.set(title="How sure and how often right", xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        percent_axis(axes, "x")
        percent_axis(axes, "y")
        axes.legend(loc="upper left")
    return figure


def _curve(axes: Axes, found: Reliability, colour: str, label: str) -> None:
    held = found.images > 0
    axes.plot(found.confidence[held], found.accuracy[held], "o-", color=colour, label=label, markersize=4)
