"""An ablation as a chart: one accuracy a row with its interval, and the paper's figure as a tick beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from train.expression.pictures.style import BLUE, INK, RED, look, percent_axis


@dataclass(frozen=True)
class Bar:
    """One row: what was trained, its accuracy and 95 % interval, and the paper's accuracy where it has one; 0–1."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    paper: float | None = None


def draw_ablation(bars: Sequence[Bar], title: str) -> Figure:
    """Draw rows in the order given. The axis starts where the differences are, so points stand for bars.

    A bar cut off at its foot would lie about the ratio.
    """
    with look():
        longest = max((len(bar.name) for bar in bars), default=0)
        width = 7.6 + 0.085 * max(0, longest - 26)  # long names do not narrow the plot
        figure = Figure(figsize=(width, 1.6 + 0.34 * len(bars)))
        axes = figure.subplots()
        columns = axes.get_yaxis_transform()  # shares of the width, rows: the figures stand beside the plot
        for row, bar in enumerate(bars):
            axes.plot(bar.interval, (row, row), color=BLUE, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot(bar.accuracy, row, "o", color=BLUE, markersize=7)
            axes.text(1.02, row, f"{100 * bar.accuracy:.1f}", transform=columns, va="center", fontweight="bold")
            if bar.paper is not None:
                axes.plot((bar.paper, bar.paper), (row - 0.3, row + 0.3), color=RED, linewidth=2.4)
                axes.text(1.12, row, f"{100 * bar.paper:.1f}", transform=columns, va="center")
        axes.text(1.02, -0.8, "ours", transform=columns, va="center", fontsize=8.5)
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        percent_axis(axes, "x")
        axes.margins(x=0.04)
        axes.set_xlabel("accuracy")
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontweight="bold")
        keys = [Line2D([], [], color=BLUE, marker="o", linewidth=5, alpha=0.6, label="ours, 95 % interval")]
        if any(bar.paper is not None for bar in bars):
            axes.text(1.12, -0.8, "paper", transform=columns, va="center", fontsize=8.5)
            keys.append(Line2D([], [], color=RED, marker="|", markersize=12, markeredgewidth=2.4, linestyle="none",
                               label="the paper's"))
        figure.legend(handles=keys, loc="outside lower right", ncols=2, labelcolor=INK)
    return figure
