"""A confusion matrix as the papers print it: percent of the true class, and below it how many images that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from train.expression.pictures.style import look

_DARK = 55  # percent from which a cell's text is white
_TEXT = "#101418"  # not the page's ink: it stands on a cell's own colour


def draw_confusion(confusion: np.ndarray, label_names: Sequence[str], title: str) -> Figure:
    """Draw (classes, classes) counts: rows are true labels, columns what was said; an empty row stays white."""
    totals = confusion.sum(axis=1, keepdims=True)
    share = 100 * confusion / np.maximum(totals, 1)
    count = len(label_names)
    with look():
        figure = Figure(figsize=(1.8 + 0.66 * count, 1.5 + 0.66 * count))
        axes = figure.subplots()
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=1.2)
        for row in range(count):
            for column in range(count):
                ink = "white" if share[row, column] > _DARK else _TEXT
                axes.text(column + 0.5, row + 0.44, f"{share[row, column]:.1f}", ha="center", va="center", color=ink,
                          fontsize=10, fontweight="bold" if row == column else "normal")
                axes.text(column + 0.5, row + 0.74, f"{confusion[row, column]:,}", ha="center", va="center", color=ink,
                          fontsize=7.5)
        axes.set_xticks(np.arange(count) + 0.5, label_names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(count) + 0.5, [f"{name}  ({n:,})" for name, n in zip(label_names, totals[:, 0])])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel("predicted (% of the true class, images below)")
        axes.set_ylabel("true (images)")
        axes.set_title(title)
    return figure
