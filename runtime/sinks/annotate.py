"""Faces and expressions drawn into a copy of a frame: boxes, labels, probability bars, a notice line.

Knows nothing of where the picture goes. OpenCV's own font is used, so text is ASCII.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from runtime.expressions import UNSURE, Expression
from runtime.faces.detector import Faces

Colour = tuple[int, int, int]  # blue, green, red

# Okabe and Ito's palette, told apart by colour-blind eyes too; https://jfly.uni-koeln.de/color/
COLOURS: dict[str, Colour] = {
    "angry": (0, 94, 213), "disgust": (115, 158, 0), "fear": (167, 121, 204), "happy": (66, 228, 240),
    "sad": (233, 180, 86), "surprise": (0, 159, 230), "neutral": (205, 205, 205), "contempt": (178, 114, 0),
    UNSURE: (150, 150, 150),
}
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
TRACK: Colour = (110, 110, 110)  # the empty part of a bar
FONT = cv2.FONT_HERSHEY_SIMPLEX
HEADING = 1.15  # a panel's heading, in rows' font size
BAR_WIDTH = 150  # px at font scale 1
PANELS = 4  # faces with bars; in a crowd the smaller ones get a tag alone
SHADE = 0.75  # how dark a panel makes the picture behind it: white text keeps 10:1 even on white (WCAG 1.4.3 asks 4.5)


@dataclass(frozen=True)
class _Rectangle:
    left: int
    top: int
    width: int
    height: int

    def shared(self, other: _Rectangle) -> int:
        """Return how many pixels both cover."""
        wide = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        high = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        return max(0, wide) * max(0, high)


@dataclass(frozen=True)
class _Sizes:
    """What grows with the picture: font scale; row height, gap, line and stroke widths in px."""

    font: float
    row: int
    gap: int
    line: int
    pen: int
    bold: int

    @classmethod
    def of(cls, image: np.ndarray) -> _Sizes:
        k = max(0.33, min(1.6, min(image.shape[1] / 640, image.shape[0] / 480) * 0.5))  # 0.33: the smallest legible
        stroke = [max(1, round(px * k)) for px in (3.2, 2.0, 2.6)]
        return cls(k, round(27 * k) + 3, round(12 * k) + 1, *stroke)


def annotate(
    image: np.ndarray, faces: Faces, expressions: Sequence[Expression | None], labels: Sequence[str], notice: str = ""
) -> np.ndarray:
    """Return a copy of a BGR frame with its faces drawn; expressions are one a face, None where unread.

    Faces come largest first; `labels` names the bars, in the order of `Expression.probabilities`.
    """
    canvas: np.ndarray = image.copy()
    sizes = _Sizes.of(image)
    boxes = [_Rectangle(*(round(float(v)) for v in box)) for box in faces.boxes]
    for box, expression in zip(boxes, expressions):
        colour = _colour(expression.label, labels) if expression else COLOURS[UNSURE]
        _draw_box(canvas, box, colour, sizes)
    taken = boxes + ([_draw_notice(canvas, notice, sizes)] if notice else [])
    for number, (box, expression) in enumerate(zip(boxes, expressions)):
        panel = _place_panel(box, labels, canvas, taken, sizes, number == 0) if number < PANELS and expression else None
        if panel and expression:
            taken.append(panel)
            _draw_panel(canvas, panel, expression, labels, sizes)
        else:
            _draw_tag(canvas, box, expression, labels, sizes)
    return canvas


def _draw_box(canvas: np.ndarray, box: _Rectangle, colour: Colour, sizes: _Sizes) -> None:
    first, last = (box.left, box.top), (box.left + box.width - 1, box.top + box.height - 1)
    cv2.rectangle(canvas, first, last, BLACK, sizes.line + 2)  # a dark rim carries bright colours on bright pictures
    cv2.rectangle(canvas, first, last, colour, sizes.line)


def _place_panel(
    box: _Rectangle, labels: Sequence[str], canvas: np.ndarray, taken: Sequence[_Rectangle], sizes: _Sizes,
    must: bool
) -> _Rectangle | None:
    """Find a place beside, below or above a face that covers no face and no other panel; None where there is none.

    `must` takes the corner that covers least instead: the one face of a kiosk often fills the picture.
    """
    height = len(labels) * sizes.row + _heading_height(sizes) + 2 * sizes.gap
    width = 3 * sizes.gap + _label_width(labels, sizes) + round(BAR_WIDTH * sizes.font)
    rows_of_picture, columns = canvas.shape[:2]
    away = sizes.gap
    level = min(max(0, box.top), rows_of_picture - height)
    left_edge = min(max(0, box.left), columns - width)
    beside = [(box.left + box.width + away, level), (box.left - width - away, level),
              (left_edge, box.top + box.height + away), (left_edge, box.top - height - away)]
    foot = rows_of_picture - height - sizes.row - sizes.gap  # above the notice
    corners = [(columns - width, foot), (0, foot), (columns - width, 0), (0, 0)]
    best, least = None, width * height + 1 if must else 1
    for left, top in beside + corners if must else beside:
        place = _Rectangle(left, top, width, height)
        covered = sum(place.shared(other) for other in taken)
        inside = left >= 0 and top >= 0 and left + width <= columns and top + height <= rows_of_picture
        if inside and covered < least:
            best, least = place, covered
    return best


def _heading_height(sizes: _Sizes) -> int:
    return round(sizes.row * 1.3)


def _label_width(labels: Sequence[str], sizes: _Sizes) -> int:
    return max(_width(label, sizes.font) for label in labels)


def _draw_panel(
    canvas: np.ndarray, panel: _Rectangle, expression: Expression, labels: Sequence[str], sizes: _Sizes
) -> None:
    _shade(canvas, panel)
    x, right = panel.left + sizes.gap, panel.left + panel.width - sizes.gap
    colour, heading = _colour(expression.label, labels), _heading_height(sizes)
    last = (panel.left + panel.width - 1, panel.top + heading - 1)
    cv2.rectangle(canvas, (panel.left, panel.top), last, colour, -1)
    text = f"{expression.label} {expression.probability:.0%}"
    _write(canvas, text, x, panel.top, heading, sizes.font * HEADING, _ink_on(colour), sizes.bold)
    y, bar_left = panel.top + heading + sizes.gap, x + _label_width(labels, sizes) + sizes.gap
    for number, (label, probability) in enumerate(zip(labels, expression.probabilities)):
        top = y + number * sizes.row
        _write(canvas, label, x, top, sizes.row, sizes.font, WHITE, sizes.pen)
        inset = max(1, sizes.row // 4)
        cv2.rectangle(canvas, (bar_left, top + inset), (right, top + sizes.row - inset), TRACK, -1)
        end = bar_left + round((right - bar_left) * float(probability))
        if end > bar_left:
            cv2.rectangle(canvas, (bar_left, top + inset), (end, top + sizes.row - inset), _colour(label, labels), -1)


def _draw_tag(
    canvas: np.ndarray, box: _Rectangle, expression: Expression | None, labels: Sequence[str], sizes: _Sizes
) -> None:
    text = f"{expression.label} {expression.probability:.0%}" if expression else "not read"
    colour = _colour(expression.label, labels) if expression else COLOURS[UNSURE]
    width = _width(text, sizes.font) + 2 * sizes.gap
    left = max(0, min(box.left, canvas.shape[1] - width))
    top = box.top - sizes.row if box.top >= sizes.row else box.top  # inside the box where there is no room above
    cv2.rectangle(canvas, (left, top), (left + width, top + sizes.row), colour, -1)
    _write(canvas, text, left + sizes.gap, top, sizes.row, sizes.font, _ink_on(colour), sizes.pen)


def _draw_notice(canvas: np.ndarray, notice: str, sizes: _Sizes) -> _Rectangle:
    height = sizes.row + sizes.gap
    strip = _Rectangle(0, canvas.shape[0] - height, canvas.shape[1], height)
    _shade(canvas, strip)
    room = canvas.shape[1] - 2 * sizes.gap
    text = _ascii(notice)[: max(1, room)]  # no letter is narrower than a pixel
    if _width(text, sizes.font) > room:
        while text and _width(text + "...", sizes.font) > room:
            text = text[:-1]
        text += "..."
    _write(canvas, text, sizes.gap, strip.top + sizes.gap // 2, sizes.row, sizes.font, WHITE, sizes.pen)
    return strip


def _shade(canvas: np.ndarray, area: _Rectangle) -> None:
    part = canvas[max(0, area.top) : area.top + area.height, max(0, area.left) : area.left + area.width]
    cv2.convertScaleAbs(part, dst=part, alpha=1 - SHADE)


def _write(
    canvas: np.ndarray, text: str, left: int, top: int, row: int, font: float, colour: Colour, weight: int
) -> None:
    """Write one line, centred in a row of `row` px."""
    (_, height), _ = cv2.getTextSize("Ag", FONT, font, weight)
    cv2.putText(canvas, _ascii(text), (left, top + (row + height) // 2), FONT, font, colour, weight, cv2.LINE_AA)


def _width(text: str, font: float) -> int:
    return int(cv2.getTextSize(_ascii(text), FONT, font, 1)[0][0])


def _ascii(text: str) -> str:
    """Drop accents and show what is left of other scripts as '?'."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode("ascii")


def _colour(label: str, labels: Sequence[str]) -> Colour:
    if label in COLOURS:
        return COLOURS[label]
    palette = list(COLOURS.values())
    return palette[list(labels).index(label) % (len(palette) - 1)]


def _ink_on(colour: Colour) -> Colour:
    blue, green, red = colour
    return BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else WHITE  # Rec. 601 luma
