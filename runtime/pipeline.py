"""Camera → faces → crops → expressions → sinks, one frame at a time, each stage timed.

Knows only the shapes between the stages; what stands behind each was opened elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.camera.source import Frame, FrameSource
from runtime.expressions import Expression, ExpressionReader
from runtime.faces.detector import FaceDetector, Faces
from runtime.stage_times import StageTimes


@dataclass(frozen=True)
class Scene:
    """One frame and what was read in it; expressions are one a face, None where the engine's answer was not finite."""

    frame: Frame
    faces: Faces
    expressions: Sequence[Expression | None]


@dataclass(frozen=True)
class Tally:
    """What a run of the pipeline saw; times in ms as {stage: {"p50": …, "p95": …}}; capture is decoding or waiting."""

    frames: int
    frames_with_faces: int
    faces: int
    seconds: float
    frames_per_second: float
    stage_milliseconds: dict[str, dict[str, float]]
    expressions: dict[str, int]
    not_finite: int
    damaged_frames: int
    ended: str


class Pipeline:
    """The stages joined, and the running count of what passed; memory stays constant however long it runs."""

    def __init__(
        self,
        source: FrameSource,
        detector: FaceDetector,
        reader: ExpressionReader,
        sinks: Sequence[Callable[[Scene], None]] = (),
    ):
        """Join open stages; they are closed by who opened them."""
        self._source, self._detector, self._reader, self._sinks = source, detector, reader, sinks
        self._times, self._labels = StageTimes(), Counter[str]()
        self._frames = self._with_faces = self._faces = self._not_finite = 0
        self._seconds, self._ended = 0.0, "not run"

    def run(self, should_stop: Callable[[], bool] = lambda: False, max_frames: int = 0) -> Tally:
        """Read frames until the source ends, `should_stop` says so, or `max_frames` (0: no limit) were read.

        A frame that was begun is finished. Raises what the stages raise; `tally` then holds what came before.
        """
        start = time.monotonic()
        self._ended = "failed"
        try:
            self._ended = self._loop(should_stop, max_frames)
        finally:
            self._seconds = time.monotonic() - start
        return self.tally()

    def tally(self) -> Tally:
        """Return what was seen so far; `ended` is "source ended", "stopped", "max_frames" or "failed"."""
        rate = self._frames / self._seconds if self._seconds else 0.0
        return Tally(self._frames, self._with_faces, self._faces, round(self._seconds, 3), round(rate, 2),
                     self._times.report(), dict(self._labels.most_common()), self._not_finite, self._source.damaged,
                     self._ended)

    def _loop(self, should_stop: Callable[[], bool], max_frames: int) -> str:
        frames = iter(self._source)
        while not should_stop():
            if max_frames and self._frames >= max_frames:
                return "max_frames"
            asked = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return "source ended"
            self._times.add("capture", time.perf_counter() - asked)
            self._pass(frame)
        return "stopped"

    def _pass(self, frame: Frame) -> None:
        with self._times.timed("detect"):
            faces = self._detector.detect(frame.image)
        with self._times.timed("crop"):
            crops = self._reader.crop(frame.image, faces.boxes)
        with self._times.timed("infer"):
            expressions = self._reader.infer(crops)
        with self._times.timed("sinks"):
            scene = Scene(frame, faces, expressions)
            for sink in self._sinks:
                sink(scene)
        self._frames += 1
        self._with_faces += len(faces) > 0
        self._faces += len(faces)
        self._not_finite += sum(e is None for e in expressions)
        self._labels.update(e.label for e in expressions if e is not None)
