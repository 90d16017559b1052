"""Targets: every face is asked of some cell near its centre, hidden faces of none, and none is blamed for them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.faces.anchor_free import cells_of
from train.faces.scenes import Scene
from train.faces.targets import NEAR, assign, collate

SIZE = (320, 256)


def scene_of(*boxes: tuple[float, ...], ignored: tuple[bool, ...] = ()) -> Scene:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = np.repeat((array[:, :2] + array[:, 2:] / 2)[:, None], 5, axis=1)
    hidden = np.array(ignored or [False] * len(array), bool)
    return Scene(np.zeros(SIZE[::-1], np.uint8), array, landmarks, np.full(len(array), 0.9, np.float32), hidden)


@settings(max_examples=200, deadline=None)
@given(st.floats(8, 250), st.floats(0.6, 1.5), st.floats(0, 1), st.floats(0, 1))
def test_a_face_of_any_size_anywhere_is_asked_of_cells_near_its_centre(
        side: float, shape: float, across: float, down: float) -> None:
    width, height = side * shape**0.5, side / shape**0.5
    x, y = across * max(0, SIZE[0] - width), down * max(0, SIZE[1] - height)
    box = (x, y, min(width, SIZE[0] - x), min(height, SIZE[1] - y))
    face, counted = assign(scene_of(box))
    assert (face == 0).any() and counted.all()
    origin, stride = cells_of(SIZE)
    away = np.abs((origin + 0.5) * stride - (box[0] + box[2] / 2, box[1] + box[3] / 2))[face == 0]
    assert (away <= NEAR * stride[face == 0] + 1e-3).all()


def test_small_faces_belong_to_the_fine_cells_and_large_ones_to_the_coarse() -> None:
    stride = cells_of(SIZE)[1][:, 0]
    assert set(stride[assign(scene_of((50, 50, 14, 14)))[0] == 0]) == {8}
    assert set(stride[assign(scene_of((50, 50, 50, 50)))[0] == 0]) == {16}
    assert set(stride[assign(scene_of((50, 50, 36, 36)))[0] == 0]) == {8, 16}
    assert set(stride[assign(scene_of((50, 50, 180, 180)))[0] == 0]) == {32}


def test_of_two_faces_a_cell_takes_the_smaller() -> None:
    large, small = (80, 80, 38, 38), (92, 92, 14, 14)
    for order in ((large, small), (small, large)):
        face, _ = assign(scene_of(*order))
        at_centre = np.flatnonzero((cells_of(SIZE)[0] == (12, 12)).all(1))[0]  # stride 8: pixels 96–104
        assert order[face[at_centre]] == small


def test_a_hidden_face_is_asked_of_nobody_and_its_cells_do_not_count() -> None:
    face, counted = assign(scene_of((96, 96, 64, 64), ignored=(True,)))
    origin, stride = cells_of(SIZE)
    middle = (origin + 0.5) * stride
    inside = ((middle >= 96) & (middle <= 160)).all(1)
    assert (face == -1).all() and np.array_equal(counted, ~inside)


def test_a_face_in_front_of_a_hidden_one_counts() -> None:
    face, counted = assign(scene_of((96, 96, 100, 100), (120, 120, 20, 20), ignored=(True, False)))
    assert (face == 1).any() and counted[face == 1].all() and not counted.all()


def test_a_scene_without_faces_asks_for_none() -> None:
    face, counted = assign(scene_of())
    assert (face == -1).all() and counted.all()


def test_a_batch_keeps_each_scenes_faces_apart() -> None:
    targets = collate([scene_of((10, 10, 40, 40)), scene_of(), scene_of((100, 100, 20, 20), (200, 50, 120, 130))])
    assert set(targets.scene.tolist()) == {0, 2} and targets.counted.shape == (3, len(cells_of(SIZE)[0]))
    assert targets.size == SIZE
    assert {tuple(b) for b in targets.boxes[targets.scene == 2].tolist()} == {(100, 100, 20, 20), (200, 50, 120, 130)}
    assert len(targets.cell) == len(targets.boxes) == len(targets.landmarks) == len(targets.scores)
