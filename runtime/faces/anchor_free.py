"""The heads of an anchor-free detector → faces, in numpy, above any engine: YuNet's graphs and our own say the same.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20, 2023; decoding as in
OpenCV's FaceDetectorYN (modules/objdetect/src/face_detect.cpp). Knows nothing of frames, nor of who trained the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from runtime.errors import BadModel
from runtime.faces.detector import Faces

STRIDES = (8, 16, 32)
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
HEADS = tuple(f"{name}_{stride}" for name in CHANNELS for stride in STRIDES)
NMS_IOU = 0.3  # both FaceDetectorYN's default and opencv_zoo's
MAX_CANDIDATES = 750  # boxes that enter non-maximum suppression: bounds its matrix, whatever the crowd
LARGEST = 10.0  # e¹⁰ strides is wider than any frame; more would overflow


@lru_cache(maxsize=8)  # a stream has one size, an evaluation a few
def cells_of(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return every cell of a picture of (width, height) px: (cells, 2) column and row, (cells, 1) stride, float32.

    Strides in order, rows from the top, read-only. A cell covers stride × stride pixels from (column, row) · stride.
    """
    origins, strides = [], []
    for stride in STRIDES:
        columns, rows = size[0] // stride, size[1] // stride
        row, column = np.divmod(np.arange(rows * columns), max(1, columns))
        origins.append(np.stack([column, row], axis=1))
        strides.append(np.full((rows * columns, 1), stride))
    cells = np.concatenate(origins).astype(np.float32), np.concatenate(strides).astype(np.float32)
    for array in cells:
        array.flags.writeable = False
    return cells


def decode(outputs: Mapping[str, np.ndarray], size: tuple[int, int], threshold: float) -> Faces:
    """Decode one picture's heads `<cls|obj|bbox|kps>_<8|16|32>`, each (1, cells, channels); `size` is (width, height).

    With a cell at column c, row r of stride s: score = √(cls·obj); centre = (c + b₀, r + b₁)·s; width, height =
    (exp b₂, exp b₃)·s; landmark k = (c + k₂ₖ, r + k₂ₖ₊₁)·s. Raises BadModel where cells and size disagree.
    """
    for stride in STRIDES:
        cells = (size[0] // stride) * (size[1] // stride)
        for name, channels in CHANNELS.items():
            head = outputs[f"{name}_{stride}"]
            if head.size != cells * channels:
                raise BadModel(f"expected {cells} cells of {channels} in {name}_{stride}, found {head.shape}; "
                               "this is no YuNet nor alike")
    cls, obj, bbox, kps = (
        np.concatenate([outputs[f"{name}_{stride}"].reshape(-1, channels) for stride in STRIDES])
        for name, channels in CHANNELS.items())
    score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))[:, 0]
    found = np.flatnonzero(score >= threshold)  # NaN compares false
    return _faces(found, score[found], bbox[found], kps[found], size)


def decode_cells(cells: np.ndarray, size: tuple[int, int], threshold: float) -> Faces:
    """Decode one picture's (cells, 16) of our own detector: the same numbers, cls and obj before their sigmoid.

    Raises BadModel where cells and size disagree.
    """
    wanted = (len(cells_of(size)[0]), sum(CHANNELS.values()))
    if cells.shape != wanted:
        raise BadModel(f"expected {wanted} outputs of a detector for {size[0]}×{size[1]} pixels, found {cells.shape}; "
                       "the graph is another network's")
    # a score is at most the root of obj's sigmoid: of thousands of cells only these few need an exponential
    least = min(max(threshold**2, 1e-9), 1 - 1e-9)
    may = np.flatnonzero(cells[:, 1] >= np.log(least / (1 - least)) - 1e-3)  # NaN compares false
    with np.errstate(over="ignore"):  # e¹⁰⁰: a sigmoid of 0
        likely = 1 / (1 + np.exp(-cells[may, :2]))
    score = np.sqrt(likely[:, 0] * likely[:, 1])
    sure = score >= threshold
    found = may[sure]
    return _faces(found, score[sure], cells[found, 2:6], cells[found, 6:], size)


def _faces(found: np.ndarray, score: np.ndarray, bbox: np.ndarray, kps: np.ndarray, size: tuple[int, int]) -> Faces:
    """Decode the cells `found` (N,) by their score (N,), bbox (N, 4) and kps (N, 10), and suppress doubles."""
    origin, stride_of = (part[found] for part in cells_of(size))
    centre = (origin + bbox[:, :2]) * stride_of
    side = np.exp(np.minimum(bbox[:, 2:], LARGEST)) * stride_of
    boxes = np.concatenate([centre - side / 2, side], axis=1)
    landmarks = (origin[:, None] + kps.reshape(-1, 5, 2)) * stride_of[:, None]
    kept = suppress(boxes, score, NMS_IOU)
    return Faces(boxes[kept], landmarks[kept], score[kept])


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes (N, 4) x, y, width, height, best score first.

    A box goes when its intersection over union with a better kept one exceeds `overlap`.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    left, top, width, height = boxes[order].T
    area = width * height
    shared = _shared(left, left + width)
    shared *= _shared(top, top + height)
    shared *= (1 + overlap) / overlap  # s > o(a + b - s), sorted for s: the fewest passes over the matrix
    clash = shared > np.add.outer(area, area)
    np.fill_diagonal(clash, False)
    alive = np.ones(len(order), bool)
    for i in np.flatnonzero(clash.any(axis=1)).tolist():  # a face alone decides nothing
        if alive[i]:
            alive[i + 1 :] &= ~clash[i, i + 1 :]
    return order[alive]


def _shared(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the length (N, N) that each pair of intervals (N,) has in common."""
    length: np.ndarray = np.minimum.outer(last, last)
    length -= np.maximum.outer(first, first)
    np.maximum(length, 0, out=length)
    return length
