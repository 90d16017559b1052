"""An explanation as one picture: the face, both answers, every layer's departure, one channel's activations.

Draws what it is given and measures nothing.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.gate.explain import Explanation
from train.expression.pictures.style import BLUE, INK, ORANGE, QUIET, RED, look, percent_axis

_MOST, _LEAST = 100.0, 0.03  # departures drawn, in what rounding explains
_SENTENCE = 118  # signs of a line above the picture


def draw_explanation(found: Explanation) -> Figure:
    """Draw an explanation; the picture's title is its sentence."""
    with look():
        figure = Figure(figsize=(11.5, 7.6))
        halves = figure.add_gridspec(2, 1)
        grid, maps = halves[0].subgridspec(2, 3, width_ratios=(3, 4, 5)), halves[1].subgridspec(1, 3)
        _face(figure.add_subplot(grid[:, 0]), found)
        _answers(figure.add_subplot(grid[:, 1]), found)
        own = figure.add_subplot(grid[0, 2])
        _departures(own, found)
        _noise(figure.add_subplot(grid[1, 2], sharex=own), found)
        _maps([figure.add_subplot(maps[place]) for place in range(3)], found)
        figure.suptitle(_wrapped(found.line), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def _face(axes: Axes, found: Explanation) -> None:
    grey = len(found.face) == 1
    axes.imshow(found.face[0] if grey else found.face.transpose(1, 2, 0), cmap="gray" if grey else None, vmin=0,
                vmax=255)
    axes.set_axis_off()


def _answers(axes: Axes, found: Explanation) -> None:
    places = np.arange(len(found.label_names))
    for side, (shares, colour) in enumerate(zip(found.probabilities, (QUIET, BLUE))):
        axes.barh(places + 0.4 * side - 0.2, np.nan_to_num(shares), color=colour, height=0.38)
    axes.set_yticks(places, found.label_names, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    percent_axis(axes, "x")
    axes.set_title("Probabilities: FP32 above, INT8 below")  # a legend would lie over some class's bars


def _departures(axes: Axes, found: Explanation) -> None:
    """Draw each layer's own departure over what rounding explains; the line at 1 is where rounding ends."""
    places = np.arange(len(found.layers))
    heights = np.clip([layer.beyond for layer in found.layers], _LEAST, _MOST)
    colours = [(RED if layer is found.first else ORANGE) if layer.departs else BLUE for layer in found.layers]
    axes.bar(places, heights - _LEAST, bottom=_LEAST, color=colours, width=0.7)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(_LEAST, max(3.0, 1.3 * float(heights.max())))
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_title("Own departure; rounding explains up to 1")
    axes.tick_params(axis="x", labelbottom=False, length=0)


def _noise(axes: Axes, found: Explanation) -> None:
    """Draw how far each layer is from FP32's, losses of the layers before included."""
    places = np.arange(len(found.layers))
    axes.plot(places, [layer.sqnr for layer in found.layers], "o-", color=BLUE, markersize=4)
    axes.set_title("Signal over noise so far, dB")
    axes.set_xticks(places, [layer.layer for layer in found.layers], rotation=60, ha="right", fontsize=7,
                    rotation_mode="anchor", parse_math=False)
    axes.grid(axis="y")


def _maps(each: list[Axes], found: Explanation) -> None:
    """Draw the shown channel in FP32, in INT8, and their difference in steps."""
    layer = found.shown
    least, most = (float(f(np.nan_to_num(np.stack([layer.reference, layer.engine])))) for f in (np.min, np.max))
    difference = np.nan_to_num(layer.engine - layer.reference) / (layer.step or 1)
    reach = float(np.abs(difference).max()) or 1.0
    unit = "steps" if layer.step else "logits or the layer's own unit"
    pictures = [(layer.reference, f"{layer.layer}, channel {layer.channel}: FP32", "viridis", least, most),
                (layer.engine, "INT8" + (f", clipped at {127 * layer.step:.3g}" if layer.clipped else ""), "viridis",
                 least, most),
                (difference, f"INT8 − FP32, {unit}", "PuOr_r", -reach, reach)]
    for axes, (values, title, colours, low, high) in zip(each, pictures):
        drawn = axes.imshow(values, cmap=colours, vmin=low, vmax=high)
        axes.set_title(title, parse_math=False)
        axes.set_axis_off()
        axes.figure.colorbar(drawn, ax=axes, shrink=0.85)


def _wrapped(line: str) -> str:
    """Break a sentence where a part of it ends, so that no line is wider than the picture."""
    lines = [""]
    for part in line.split("; "):
        joined = f"{lines[-1]}; {part}" if lines[-1] else part
        lines[-1:] = [joined] if len(joined) <= _SENTENCE else [f"{lines[-1]};", part]
    return "\n".join(lines)
