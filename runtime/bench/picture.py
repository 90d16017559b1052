"""Latency histograms as a picture: one panel an engine and batch, p50 and p99 marked. OpenCV's own font, so ASCII.

Knows records, not engines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.durable import write_bytes
from runtime.errors import BadInput, MienError

WIDTH, PANEL, MARGIN = 960, 120, 16  # px
TITLE = 26  # px of a panel's height
BINS = 80
INK, BARS, MEDIAN, TAIL = (40, 40, 40), (178, 114, 0), (0, 94, 213), (115, 158, 0)  # BGR, Okabe and Ito's palette
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_latencies(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return (H, 960, 3) BGR uint8; panels of one batch share their axis, which ends at the slowest p99 plus a tenth.

    What is slower than that stands in the last bin.
    """
    timed = [row for row in rows if row.get("samples_ms")]
    canvas = np.full((max(1, len(timed)) * PANEL + MARGIN, WIDTH, 3), 255, np.uint8)
    ends = {batch: 1.1 * max(r["milliseconds"]["p99"] for r in timed if r["batch"] == batch)
            for batch in {row["batch"] for row in timed}}
    for number, row in enumerate(timed):
        _draw_panel(canvas[number * PANEL : (number + 1) * PANEL], row, ends[row["batch"]])
    return canvas


def _draw_panel(panel: np.ndarray, row: dict[str, Any], end: float) -> None:
    median, tail = row["milliseconds"]["p50"], row["milliseconds"]["p99"]
    title = (f"{row['name']}, batch {row['batch']}: p50 {median:.3g} ms, p99 {tail:.3g} ms, "
             f"{len(row['samples_ms'])} runs; axis 0 to {end:.3g} ms")
    _write(panel, title, MARGIN, TITLE - 8)
    foot, height, width = PANEL - 4, PANEL - TITLE - 8, WIDTH - 2 * MARGIN
    counts, _ = np.histogram(np.minimum(row["samples_ms"], end), BINS, (0, end))
    for index in np.flatnonzero(counts):
        left, right = (MARGIN + round(width * edge / BINS) for edge in (int(index), int(index) + 1))
        top = foot - max(1, round(height * int(counts[index]) / int(counts.max())))
        cv2.rectangle(panel, (left, top), (right - 2, foot), BARS, -1)
    for value, colour in ((median, MEDIAN), (tail, TAIL)):
        x = MARGIN + round(width * value / end)
        cv2.line(panel, (x, TITLE), (x, foot), colour, 2)
    cv2.line(panel, (MARGIN, foot), (WIDTH - MARGIN, foot), INK, 1)


def _write(panel: np.ndarray, text: str, left: int, base: int) -> None:
    plain = text.encode("ascii", "replace").decode("ascii")
    cv2.putText(panel, plain, (left, base), FONT, 0.5, INK, 1, cv2.LINE_AA)


def require_picture(path: Path) -> None:
    """Ask, before anything is timed, whether a picture can go there. Raises BadInput for its ending or its folder."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise BadInput(f"expected a picture file (.png or .jpg), found {path}; choose such an ending")
    if not path.parent.is_dir():
        raise BadInput(f"expected a folder to write {path} into, found none; make it first")


def save_latencies(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the histograms, whole or not at all. Raises BadInput as `require_picture` does."""
    require_picture(path)
    done, content = cv2.imencode(path.suffix, draw_latencies(rows))
    if not done:
        raise MienError(f"expected OpenCV to write {path.suffix}, found that it cannot; choose .png")
    write_bytes(path, content.tobytes())
