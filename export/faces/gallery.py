"""A detector's mistakes as one picture: the faces it missed, then what it took for faces, each cut from its scene.

Knows nothing of detectors; what was found and what should have been comes in.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from runtime.faces.detector import Faces
from train.faces.metrics import MATCH, Truth, overlaps

TILE, COLUMNS, ROWS = 96, 12, 3  # px; rows of each kind
AROUND = 1.0  # share of a box's side shown around it on every side
MISSED, FALSE, PAPER, INK = (60, 60, 220), (30, 150, 240), (255, 255, 255), (40, 40, 40)  # BGR


def missed_and_false(found: Faces, truth: Truth, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (K, 4) of true faces that were not found, and of finds that are no face, surest first."""
    kept = np.argsort(-found.scores, kind="stable")
    boxes = found.boxes[kept[found.scores[kept] >= threshold]]
    shared = overlaps(boxes, truth.boxes)
    missed = truth.boxes[~truth.ignored & (shared.max(axis=0, initial=0) < MATCH)]
    return missed, boxes[shared.max(axis=1, initial=0) < MATCH]


def draw_gallery(pictures: Sequence[np.ndarray], found: Sequence[Faces], truths: Sequence[Truth], threshold: float
                 ) -> bytes:
    """Return a JPEG: the largest faces missed and the false ones of pictures (H, W) uint8, in order of their size."""
    missed: list[tuple[float, np.ndarray]] = []
    false: list[tuple[float, np.ndarray]] = []
    for picture, faces, truth in zip(pictures, found, truths):
        for boxes, colour, into in zip(missed_and_false(faces, truth, threshold), (MISSED, FALSE), (missed, false)):
            into += [(float(np.prod(box[2:])), _tile(picture, box, colour)) for box in boxes]
    parts = []
    wanted = sum(int((~t.ignored).sum()) for t in truths)
    for title, tiles in ((f"missed: {len(missed)} of {wanted} faces, largest first", missed),
                         (f"false: {len(false)} in {len(pictures)} pictures, largest first", false)):
        ordered = [tile for _, tile in sorted(tiles, key=lambda entry: -entry[0])][: COLUMNS * ROWS]
        parts += [_line(title), _sheet(ordered)]
    done, picture = cv2.imencode(".jpg", np.vstack(parts), [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return picture.tobytes()


def _tile(picture: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Cut a box with its surroundings, (TILE, TILE, 3), the box drawn in its colour."""
    x, y, width, height = (float(v) for v in box)
    side = max(width, height) * (1 + 2 * AROUND)
    scale = TILE / side
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = cv2.cvtColor(cv2.warpAffine(picture, matrix, (TILE, TILE), flags=flags), cv2.COLOR_GRAY2BGR)
    first = (round((x - left) * scale), round((y - top) * scale))
    last = (round((x + width - left) * scale), round((y + height - top) * scale))
    return cv2.rectangle(tile, first, last, colour, 1, cv2.LINE_AA)


def _line(text: str) -> np.ndarray:
    paper = np.full((28, COLUMNS * TILE, 3), PAPER, np.uint8)
    return cv2.putText(paper, text, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)


def _sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    rows = max(1, -(-len(tiles) // COLUMNS))
    paper = np.full((rows * TILE, COLUMNS * TILE, 3), PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        paper[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = tile
    return paper
