"""The stages joined: counts, times, and ends."""

from __future__ import annotations

import time
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
from runtime.tracks.steady import SteadyLabels, SteadyRules
from runtime.tracks.tracking import FaceTracker


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
    assert list(tally.stage_milliseconds) == ["capture", "follow", "detect", "crop", "infer", "sinks"]
    assert all(0 < ms["p50"] <= ms["p95"] <= ms["p99"] for ms in tally.stage_milliseconds.values())


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


class Live(Frames):
    """A camera that stalls: an idle tick before every frame, and frames that were taken 0.2 s ago."""

    live = True

    def __iter__(self) -> Iterator[Frame | None]:  # type: ignore[override]
        for frame in super().__iter__():
            yield None
            yield Frame(frame.image, frame.index, frame.seconds, time.monotonic() - 0.2)


def test_an_idle_tick_is_no_end_and_progress_is_told_of_ticks_and_frames(reader: ExpressionReader) -> None:
    told: list[str] = []
    tally = Pipeline(Live(3), EveryOther(), reader, on_idle=lambda: told.append("idle"),
                     on_progress=lambda: told.append("progress")).run()
    assert told == ["idle", "progress", "progress"] * 3
    assert (tally.frames, tally.idle, tally.ended) == (3, 3, "source ended")


def test_a_stop_is_noticed_while_a_camera_stalls(reader: ExpressionReader) -> None:
    ticks: list[int] = []
    tally = Pipeline(Live(9), EveryOther(), reader, on_idle=lambda: ticks.append(1)).run(lambda: len(ticks) == 2)
    assert (tally.frames, tally.ended) == (1, "stopped")


def test_a_frames_age_runs_from_its_capture_until_the_sinks_had_it(reader: ExpressionReader) -> None:
    ages = Pipeline(Live(3), EveryOther(), reader, [lambda scene: time.sleep(0.05)]).run().age_milliseconds
    assert 240 < ages["p50"] <= ages["p95"] <= ages["p99"]
    assert Pipeline(Frames(3), EveryOther(), reader).run().age_milliseconds == {}


def test_a_scene_has_one_track_and_one_steady_expression_a_face(reader: ExpressionReader) -> None:
    scenes: list[Scene] = []
    labels = SteadyLabels(reader.labels, SteadyRules(threshold=0))
    Pipeline(Frames(5), EveryOther(), reader, [scenes.append], labels=labels).run()
    assert [tuple(s.tracks) for s in scenes] == [(1, 2), (), (1, 2), (), (1, 2)]
    assert [len(s.steady) for s in scenes] == [2, 0, 2, 0, 2]
    assert scenes[0].steady[0].label == scenes[0].expressions[0].label  # type: ignore[union-attr]


def test_the_network_reads_a_face_every_so_many_frames(reader: ExpressionReader) -> None:
    scenes: list[Scene] = []
    labels = SteadyLabels(reader.labels, SteadyRules(read_every=4))
    tally = Pipeline(Frames(8), EveryOther(), reader, [scenes.append], labels=labels).run()
    assert (tally.faces, sum(tally.expressions.values())) == (8, 4)
    assert all(len(s.expressions) == len(s.faces) and None not in s.expressions for s in scenes)


def test_frames_that_are_followed_cost_no_detection(reader: ExpressionReader, face_photo: np.ndarray) -> None:
    class Photo(Frames):
        def __iter__(self) -> Iterator[Frame]:
            for index in range(self._count):
                yield Frame(face_photo, index, index / 25)

    class OneFace(EveryOther):
        def detect(self, frame: np.ndarray) -> Faces:
            return Faces(np.array([[155, 98, 230, 233]], np.float32), None, np.ones(1, np.float32))

    tally = Pipeline(Photo(11), OneFace(), reader, tracker=FaceTracker(every=5)).run()
    assert (tally.faces, tally.detections, tally.tracks) == (11, 3, 1)
