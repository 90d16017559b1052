"""Decoding anchor-free heads: one picture of many cells gives what each cell alone would, whatever the stride."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BadModel
from runtime.faces.anchor_free import CHANNELS, HEADS, NMS_IOU, STRIDES, cells_of, decode, decode_cells

SIZE = (96, 64)


def random_heads(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    counts = {stride: (SIZE[0] // stride) * (SIZE[1] // stride) for stride in STRIDES}
    return {f"{name}_{stride}": random.random((1, counts[stride], channels), np.float32)
            for name, channels in CHANNELS.items() for stride in STRIDES}


def by_the_book(heads: dict[str, np.ndarray], threshold: float) -> list[tuple[float, list[float], list[float]]]:
    """Decode cell by cell, as the equations are printed: (score, box, landmarks) before suppression."""
    found = []
    for stride in STRIDES:
        columns = SIZE[0] // stride
        cls, obj, bbox, kps = (heads[f"{name}_{stride}"][0].astype(float) for name in CHANNELS)
        for cell in range(len(cls)):
            column, row = cell % columns, cell // columns
            score = float(np.sqrt(cls[cell, 0] * obj[cell, 0]))
            if score < threshold:
                continue
            x, y = (column + bbox[cell, 0]) * stride, (row + bbox[cell, 1]) * stride
            width, height = np.exp(bbox[cell, 2]) * stride, np.exp(bbox[cell, 3]) * stride
            points = [((column, row)[k % 2] + kps[cell, k]) * stride for k in range(10)]
            found.append((score, [x - width / 2, y - height / 2, width, height], points))
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.99))
def test_every_kept_face_is_a_cell_decoded_by_the_book(seed: int, threshold: float) -> None:
    heads = random_heads(seed)
    expected, faces = by_the_book(heads, threshold), decode(heads, SIZE, threshold)
    assert (len(faces) > 0) == (len(expected) > 0)
    for box, landmarks, score in zip(faces.boxes, faces.landmarks, faces.scores):
        nearest = min(expected, key=lambda e: abs(e[0] - score) + np.abs(np.array(e[1]) - box).sum())
        assert np.abs(np.array(nearest[1]) - box).max() < 1e-3
        assert np.abs(np.array(nearest[2]) - landmarks.ravel()).max() < 1e-3
        assert abs(nearest[0] - score) < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_two_kept_faces_overlap_more_than_allowed_and_the_best_stays(seed: int) -> None:
    heads = random_heads(seed)
    faces = decode(heads, SIZE, 0.5)
    first, last = faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]
    shared = np.prod(np.maximum(np.minimum(last[:, None], last) - np.maximum(first[:, None], first), 0), axis=2)
    area = np.prod(faces.boxes[:, 2:], axis=1)
    overlap = shared / (area[:, None] + area - shared)
    assert overlap[~np.eye(len(faces), dtype=bool)].max(initial=0) <= NMS_IOU + 1e-5
    assert abs(faces.scores[0] - max(score for score, _, _ in by_the_book(heads, 0.5))) < 1e-5
    assert (np.diff(faces.scores) <= 0).all()


def test_cells_lie_side_by_side_from_the_upper_left() -> None:
    origin, stride = cells_of((64, 32))
    assert len(origin) == len(stride) == 8 * 4 + 4 * 2 + 2
    assert origin[:9].tolist() == [[c, 0] for c in range(8)] + [[0, 1]]
    assert stride[[0, 32, 40], 0].tolist() == [8, 16, 32]
    assert not origin.flags.writeable and not stride.flags.writeable  # they are shared between calls


def test_a_picture_smaller_than_a_stride_has_no_cells_there() -> None:
    empty = {head: np.zeros((1, 0, CHANNELS[head.partition("_")[0]]), np.float32) for head in HEADS}
    assert len(decode(empty, (0, 0), 0.5)) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_our_cells_and_yunets_heads_are_one_code(seed: int) -> None:
    heads = random_heads(seed)
    cls, obj, bbox, kps = (np.concatenate([heads[f"{name}_{stride}"][0] for stride in STRIDES]) for name in CHANNELS)
    logits = [np.log(p / (1 - p)) for p in (cls.clip(1e-6, 1 - 1e-6), obj.clip(1e-6, 1 - 1e-6))]
    ours = decode_cells(np.concatenate([*logits, bbox, kps], axis=1), SIZE, 0.5)
    theirs = decode(heads, SIZE, 0.5)
    assert len(ours) == len(theirs)
    assert np.allclose(ours.boxes, theirs.boxes, atol=1e-3) and np.allclose(ours.scores, theirs.scores, atol=1e-5)


def test_cells_of_another_size_are_refused() -> None:
    with pytest.raises(BadModel, match="another network"):
        decode_cells(np.zeros((5, 16), np.float32), SIZE, 0.5)


def test_wild_logits_are_no_face_and_no_warning() -> None:
    cells = np.full((len(cells_of(SIZE)[0]), 16), -1e4, np.float32)
    cells[3, :2] = np.nan
    assert len(decode_cells(cells, SIZE, 0.5)) == 0
