"""Golden vectors of a detector: whole grey pictures, PyTorch's answers in chosen cells, and the faces found there.

Background cells are most of the output and their boxes mean nothing, so only a sample of them is pinned beside every
cell that sees a face. Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from export.clip import render_view, view_at
from runtime.card import GoldenFaces
from runtime.faces.anchor_free import decode_cells

_SHARES = (0.42, 0.82)  # of the clip: dark, and tilted
LIKELY = 0.02  # of objectness: the cells on and about a face
EVERY = 37  # background cell pinned; no divisor of a row, so that all columns take part


def make_golden_pictures(photograph: np.ndarray, size: tuple[int, int], cells: Callable[[np.ndarray], np.ndarray],
                         threshold: float) -> GoldenFaces:
    """Render two pictures of `size` (width, height) and ask the PyTorch network.

    cells: maps (N, 1, H, W) uint8 to (N, cells, 16) float32. threshold: of the faces that are pinned, 0–1.
    """
    frames = [render_view(photograph, view_at(share), size) for share in _SHARES]
    pictures = np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames])[:, None]
    answers = cells(pictures).astype(np.float32)
    likely: np.ndarray = np.any(1 / (1 + np.exp(-answers[..., 1])) >= LIKELY, axis=0)
    likely[::EVERY] = True
    found = [decode_cells(each, size, threshold) for each in answers]
    return GoldenFaces(
        faces=pictures, logits=answers[:, likely], cells=np.flatnonzero(likely),
        boxes=np.concatenate([f.boxes for f in found]).astype(np.float32),
        frame_of=np.concatenate([np.full(len(f), number) for number, f in enumerate(found)]))
