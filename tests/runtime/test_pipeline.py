"""The stages joined: counts, times, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.camera.source import Frame, FrameSource
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import Unavailable
from runtime.expressions import ExpressionReader
from runtime.faces.detector import Faces
from runtime.pipeline import Pipeline, Scene


class Frames(FrameSource):
    """As many frames as asked for; `fails_after` raises as an unplugged camera does."""

    def __init__(self, count: int, fails_after: int | None = None):
        self._count, self._fails_after = count, fails_after
        self.name, self.fps, self.size, self.damaged = "frames", 10.0, (64, 64), 0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if index == self._fails_after:
                raise Unavailable("expected another frame, found none")
            yield Frame(np.full((64, 64, 3), index, np.uint8), index, index / 10)

    def close(self) -> None:
        """Nothing is open."""


class EveryOther:
    """A detector that sees two faces in frames of even number."""

    name = "every other"

    def detect(self, frame: np.ndarray) -> Faces:
        if frame[0, 0, 0] % 2:
            return Faces.none()
        return Faces(np.array([[0, 0, 40, 40], [10, 10, 30, 30]], np.float32), None, np.ones(2, np.float32))

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def reader(tiny_model: Path) -> ExpressionReader:
    model = load_model(tiny_model)
    return ExpressionReader(model, open_engine(model, "fp32", "cpu"))


def test_every_frame_and_face_is_counted(reader: ExpressionReader) -> None:
    tally = Pipeline(Frames(9), EveryOther(), reader).run()
    assert (tally.frames, tally.frames_with_faces, tally.faces, tally.ended) == (9, 5, 10, "source ended")
    assert sum(tally.expressions.values()) == 10
    rounding = 0.0005  # seconds are told to the millisecond, and nine empty frames take about two
    assert 9 / (tally.seconds + rounding) - 0.01 <= tally.frames_per_second
    assert tally.frames_per_second <= 9 / max(tally.seconds - rounding, 1e-9) + 0.01


def test_every_stage_is_timed(reader: ExpressionReader) -> None:
    tally = Pipeline(Frames(3), EveryOther(), reader).run()
    assert list(tally.stage_milliseconds) == ["capture", "detect", "crop", "infer", "sinks"]
    assert all(0 < ms["p50"] <= ms["p95"] for ms in tally.stage_milliseconds.values())


def test_sinks_get_every_scene_in_order(reader: ExpressionReader) -> None:
    scenes: list[Scene] = []
    Pipeline(Frames(4), EveryOther(), reader, [scenes.append]).run()
    assert [s.frame.index for s in scenes] == [0, 1, 2, 3]
    assert [len(s.expressions) for s in scenes] == [2, 0, 2, 0]


def test_it_stops_after_max_frames(reader: ExpressionReader) -> None:
    tally = Pipeline(Frames(100), EveryOther(), reader).run(max_frames=7)
    assert (tally.frames, tally.ended) == (7, "max_frames")


def test_a_stop_during_a_frame_finishes_that_frame(reader: ExpressionReader) -> None:
    scenes: list[Scene] = []
    tally = Pipeline(Frames(100), EveryOther(), reader, [scenes.append]).run(lambda: len(scenes) == 3)
    assert (tally.frames, tally.ended, len(scenes)) == (3, "stopped", 3)


def test_no_frames_give_an_empty_tally(reader: ExpressionReader) -> None:
    tally = Pipeline(Frames(0), EveryOther(), reader).run()
    assert (tally.frames, tally.stage_milliseconds, tally.expressions) == (0, {}, {})


def test_a_camera_that_goes_away_keeps_what_was_seen_before(reader: ExpressionReader) -> None:
    pipeline = Pipeline(Frames(100, fails_after=5), EveryOther(), reader)
    with pytest.raises(Unavailable):
        pipeline.run()
    assert (pipeline.tally().frames, pipeline.tally().ended) == (5, "failed")
    assert pipeline.tally().seconds > 0


def test_a_face_without_a_finite_answer_is_counted_apart(reader: ExpressionReader) -> None:
    class Broken(ExpressionReader):
        def infer(self, crops: np.ndarray) -> list[None]:  # type: ignore[override]
            return [None] * len(crops)

    broken = Broken.__new__(Broken)
    broken.__dict__.update(reader.__dict__)
    tally = Pipeline(Frames(3), EveryOther(), broken).run()
    assert (tally.faces, tally.not_finite, tally.expressions) == (4, 4, {})
