"""Camera → faces → tracks → crops → expressions → sinks, one frame at a time, each stage timed.

Knows only the shapes between the stages; what stands behind each was opened elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.camera.source import Frame, FrameSource
from runtime.expressions import Expression, ExpressionReader
from runtime.faces.detector import FaceDetector, Faces
from runtime.stage_times import StageTimes
from runtime.tracks.steady import SteadyLabels
from runtime.tracks.tracking import FaceTracker

# crops (N, C, H, W) uint8, their boxes (N, 4) px, the answers, the tracks, the frame's seconds
OnRead = Callable[[np.ndarray, np.ndarray, Sequence[Expression | None], Sequence[int], float], None]


@dataclass(frozen=True)
class Scene:
    """One frame and what was read in it; all but the frame hold one entry a face, largest face first.

    expressions are the network's last answers, None where one was not finite; steady are those smoothed over time, None
    where no answer was finite yet. tracks are running numbers since the start, which say nothing of who it is.
    """

    frame: Frame
    faces: Faces
    expressions: Sequence[Expression | None]
    tracks: Sequence[int] = ()
    steady: Sequence[Expression | None] = ()


@dataclass(frozen=True)
class Tally:
    """What a run of the pipeline saw.

    Times in ms as {stage: {"p50": …, "p95": …, "p99": …}}, over the frames that had the stage; capture is decoding or
    waiting. age_milliseconds runs from a live source's capture until every sink had the frame, and is empty where the
    source knows no such time. detections counts frames that the detector saw, expressions the network's answers.
    """

    frames: int
    frames_with_faces: int
    faces: int
    detections: int
    tracks: int
    seconds: float
    frames_per_second: float
    stage_milliseconds: dict[str, dict[str, float]]
    age_milliseconds: dict[str, float]
    expressions: dict[str, int]
    label_changes: int
    not_finite: int
    damaged_frames: int
    idle: int
    ended: str


class Pipeline:
    """The stages joined, and the running count of what passed; memory stays constant however long it runs."""

    def __init__(
        self,
        source: FrameSource,
        detector: FaceDetector,
        reader: ExpressionReader,
        sinks: Sequence[Callable[[Scene], None]] = (),
        tracker: FaceTracker | None = None,
        labels: SteadyLabels | None = None,
        on_progress: Callable[[], None] = lambda: None,
        on_idle: Callable[[], None] = lambda: None,
        on_read: OnRead = lambda crops, boxes, answers, tracks, seconds: None,
    ):
        """Join open stages; they are closed by who opened them. Without a tracker every frame is detected.

        on_progress is called after each frame that passed and each idle tick: a watchdog's sign of life. on_idle is
        called when a live source had no frame for a while. on_read hears what the engine was shown and answered.
        """
        self._source, self._detector, self._reader, self._sinks = source, detector, reader, sinks
        self._tracker, self._steady = tracker or FaceTracker(), labels or SteadyLabels(reader.labels)
        self._on_progress, self._on_idle, self._on_read = on_progress, on_idle, on_read
        self._times, self._ages, self._labels = StageTimes(), StageTimes(), Counter[str]()
        self._frames = self._with_faces = self._faces = self._detections = self._not_finite = self._idle = 0
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

    def tally(self, recent: bool = False) -> Tally:
        """Return what was seen so far; `ended` is "source ended", "stopped", "max_frames" or "failed".

        With `recent` the times are of the last five minutes, not since the start: what a monitor shows.
        """
        times, ages = ((self._times.recent(), self._ages.recent()) if recent
                       else (self._times.report(), self._ages.report()))
        rate = self._frames / self._seconds if self._seconds else 0.0
        return Tally(
            frames=self._frames, frames_with_faces=self._with_faces, faces=self._faces, detections=self._detections,
            tracks=self._tracker.given, seconds=round(self._seconds, 3), frames_per_second=round(rate, 2),
            stage_milliseconds=times, age_milliseconds=ages.get("age", {}),
            expressions=dict(self._labels.most_common()), label_changes=self._steady.changes,
            not_finite=self._not_finite, damaged_frames=self._source.damaged, idle=self._idle, ended=self._ended)

    def _loop(self, should_stop: Callable[[], bool], max_frames: int) -> str:
        frames = iter(self._source)
        while not should_stop():
            if max_frames and self._frames >= max_frames:
                return "max_frames"
            asked = time.perf_counter()
            try:
                frame = next(frames)
            except StopIteration:
                return "source ended"
            if frame is None:  # a live source without a fresh frame: its own time-outs are at work
                self._idle += 1
                self._on_idle()
            else:
                self._times.add("capture", time.perf_counter() - asked)
                self._pass(frame)
            self._on_progress()
        return "stopped"

    def _pass(self, frame: Frame) -> None:
        with self._times.timed("follow"):
            look = self._tracker.follow(frame)
        if look:
            with self._times.timed("detect"):
                self._tracker.detect(frame, self._detector.detect(frame.image))
        tracked = self._tracker.faces()
        faces, tracks, due = tracked.faces, tracked.numbers, self._steady.due(tracked.numbers)
        with self._times.timed("crop"):
            landmarks = None if faces.landmarks is None else faces.landmarks[due]
            crops = self._reader.crop(frame.image, faces.boxes[due], landmarks)
        with self._times.timed("infer"):
            answers = self._reader.infer(crops)
            self._on_read(crops, faces.boxes[due], answers, [tracks[place] for place in due], frame.seconds)
        self._steady.read([tracks[place] for place in due], answers, frame.seconds)
        self._steady.keep(self._tracker.living)
        with self._times.timed("sinks"):
            scene = Scene(frame, faces, self._steady.raw(tracks), tracks, self._steady.steady(tracks))
            for sink in self._sinks:
                sink(scene)
        if frame.captured is not None:
            self._ages.add("age", time.monotonic() - frame.captured)
        self._frames += 1
        self._detections += look
        self._with_faces += len(faces) > 0
        self._faces += len(faces)
        self._not_finite += sum(answer is None for answer in answers)
        self._labels.update(answer.label for answer in answers if answer is not None)
