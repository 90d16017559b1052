"""How every picture looks, and how it is kept: as a PNG, or as an SVG that takes the page's ink. Knows no figures.

Colours are Okabe and Ito's, which people with any colour vision tell apart (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runtime.durable import replacing

BLUE, ORANGE, GREEN, RED, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"
INK = "#24292f"  # text and axes; in a page, the page's own text colour
QUIET = "#8c959f"  # guides that step back; legible on white and on near-black
DPI = 144

_LOOK: dict[Any, Any] = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": QUIET, "axes.labelcolor": INK,
    "axes.titlecolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "xtick.labelsize": 9,
    "ytick.labelsize": 9, "axes.grid": False, "grid.color": QUIET, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8, "svg.fonttype": "none",
    "svg.hashsalt": "mien", "figure.constrained_layout.use": True,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in this look; the caller's matplotlib settings stay as they were."""
    with matplotlib.rc_context(_LOOK):
        yield


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG on white, whole or not at all."""
    with look(), replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, facecolor="white")


def as_svg(figure: Figure, name: str) -> str:
    """Return a figure as an `<svg>` element without ground, whose ink is the page's; `name` is its id."""
    text = io.StringIO()
    with look(), matplotlib.rc_context({"svg.hashsalt": name, "svg.id": name}):
        figure.savefig(text, format="svg", transparent=True,
                       metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    used = {name, *re.findall(r'(?:url\(|href=")#([^)"]+)', svg)}
    alone = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)  # no id twice in a page
    return alone[alone.index("<svg") :].replace(INK, "currentColor")


def percent_axis(axes: Axes, which: str) -> None:
    """Label an axis of shares 0–1 in percent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{round(100 * value, 2):g} %")
