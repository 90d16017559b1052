"""Drawing: into a copy, inside the frame, whatever the faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.expressions import UNSURE, Expression
from runtime.faces.detector import Faces
from runtime.sinks.annotate import COLOURS, annotate

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def reading(label: str = "happy", probability: float = 0.9) -> Expression:
    rest = (1 - probability) / 6
    return Expression(label, probability, np.array([probability if x == label else rest for x in LABELS], np.float32))


def faces(*boxes: tuple[float, ...]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), None, np.ones(len(boxes), np.float32))


def has(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((image == colour).all(axis=2).any())


def test_the_frame_itself_is_left_alone() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    drawn = annotate(frame, faces((50, 50, 100, 100)), [reading()], LABELS, "notice")
    assert (frame == 90).all()
    assert drawn.shape == frame.shape and (drawn != 90).any()


def test_nothing_to_draw_gives_the_same_picture() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    assert (annotate(frame, faces(), [], LABELS) == frame).all()


@pytest.mark.parametrize("width", [320, 640, 1280, 1920])
def test_box_and_seven_bars_are_drawn_at_every_size(width: int) -> None:
    frame = np.full((width * 3 // 4, width, 3), 90, np.uint8)
    equal = Expression("happy", 1 / 7, np.full(7, 1 / 7, np.float32))
    drawn = annotate(frame, faces((width // 10, width // 10, width // 4, width // 4)), [equal], LABELS)
    assert all(has(drawn, COLOURS[label]) for label in LABELS)


def test_a_bars_length_is_its_probability() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    uneven = Expression("happy", 0.6, np.array([0.2, 0, 0, 0.6, 0, 0, 0.2], np.float32))
    drawn = annotate(frame, faces((50, 50, 100, 100)), [uneven], LABELS)
    panel = drawn[:, 160:]  # right of the box
    lengths = {label: int((panel == COLOURS[label]).all(axis=2).sum(axis=1)[90:].max()) for label in ("angry", "happy")}
    assert lengths["happy"] / lengths["angry"] == pytest.approx(3, rel=0.15)


def test_a_face_that_fills_the_picture_keeps_its_bars() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    equal = Expression("happy", 1 / 7, np.full(7, 1 / 7, np.float32))
    drawn = annotate(frame, faces((5, 5, 630, 470)), [equal], LABELS)
    assert all(has(drawn, COLOURS[label]) for label in LABELS)


@pytest.mark.parametrize(("expression", "colour"), [(reading("sad"), COLOURS["sad"]), (None, COLOURS[UNSURE]),
                                                    (reading(UNSURE, 0.3), COLOURS[UNSURE])])
def test_the_box_has_the_expressions_colour(expression: Expression | None, colour: tuple[int, int, int]) -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    drawn = annotate(frame, faces((200, 150, 200, 200)), [expression], LABELS)
    assert tuple(drawn[349, 300].tolist()) == colour  # the middle of the lower edge


def test_every_expression_has_a_colour_of_its_own() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_the_notice_lies_at_the_foot_and_alone() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    rows = np.flatnonzero((annotate(frame, faces(), [], LABELS, "A notice") != 90).any(axis=(1, 2)))
    assert rows.min() > 440 and rows.max() == 479


@pytest.mark.parametrize("notice", ["x" * 5000, "größer naïve 顔 😀", "two\nlines"])
def test_any_notice_fits(notice: str) -> None:
    annotate(np.full((240, 320, 3), 90, np.uint8), faces(), [], LABELS, notice)


def test_a_label_nobody_knows_is_drawn() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    bored = Expression("bored", 0.5, np.full(2, 0.5, np.float32))
    drawn = annotate(frame, faces((50, 50, 100, 100)), [bored], ("bored", "keen"))
    assert (drawn != 90).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700),
       st.lists(st.tuples(*[st.floats(0, 700)] * 2, *[st.floats(1, 700)] * 2), max_size=12))
def test_any_faces_in_any_frame_are_drawn(height: int, width: int, boxes: list[tuple[float, ...]]) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    assert annotate(frame, faces(*boxes), [reading()] * len(boxes), LABELS, "notice").shape == frame.shape
