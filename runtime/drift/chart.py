"""Lines over time as one SVG in the page's own ink. Knows nothing of what they show."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

WIDTH, HEIGHT = 900, 220
LEFT, RIGHT, TOP, BOTTOM = 90, 150, 24, 24  # px around the plot
# Okabe and Ito's colours, told apart by most eyes: https://jfly.uni-koeln.de/color/; the last ones repeat with dashes
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Line:
    """A name and its points: seconds since 1970, and a value; None breaks the line."""

    name: str
    points: tuple[tuple[float, float | None], ...]


def chart(title: str, lines: Sequence[Line], form: Callable[[float], str], mark: float | None = None) -> str:
    """Return an SVG of lines over one time axis; `mark` is drawn across, `form` writes a value."""
    times = [t for line in lines for t, _ in line.points]
    values = [v for line in lines for _, v in line.points if v is not None]
    if not values:
        return f"<p class='quiet'>{html.escape(title)}: nothing yet.</p>"
    low, high = min([*values, *([0.0] if mark else [])]), max([*values, *([mark] if mark else [])])
    low, high = (low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9) if low == high else (low, high)
    first, last = min(times), max(max(times), min(times) + 1.0)

    def x(t: float) -> float:
        return LEFT + (t - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(v: float) -> float:
        return HEIGHT - BOTTOM - (v - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}" font-size="12" '
             'fill="currentColor">', f'<text x="0" y="14">{html.escape(title)}</text>',
             f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" '
             'stroke-opacity=".4"/>']
    parts += [f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{html.escape(form(v))}</text>'
              for v in (low, high)]
    parts += [f'<text x="{x(t):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
              f"{datetime.fromtimestamp(t, timezone.utc):%m-%d %H:%M}</text>"
              for t, anchor in ((first, "start"), (last, "end"))]
    if mark is not None:
        parts.append(f'<path d="M{LEFT} {y(mark):.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-dasharray="2 4"/>')
    for number, line in enumerate(lines):
        dash = ' stroke-dasharray="6 3"' if number >= len(COLOURS) else ""
        look = f'stroke="{COLOURS[number % len(COLOURS)]}"{dash} stroke-width="1.6" stroke-linecap="round" fill="none"'
        parts.append(f'<path d="{_path(line, x, y)}" {look}/>')
        if len(lines) > 1:
            place = TOP + 8 + 18 * number
            parts.append(f'<path d="M{WIDTH - RIGHT + 12} {place}h18" {look}/>'
                         f'<text x="{WIDTH - RIGHT + 36}" y="{place + 4}">{html.escape(line.name)}</text>')
    return "".join(parts) + "</svg>"


def _path(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    words, down = [], False
    for t, value in line.points:
        if value is not None:
            # a lone point is a line of no length, which round caps make a dot
            words.append(f"{'L' if down else 'M'}{x(t):.1f} {y(value):.1f}" + ("" if down else "h0"))
        down = value is not None
    return "".join(words)
