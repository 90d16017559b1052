"""What the pipeline costs around its detector and network, and what following saves: frames a second, boxes, labels.

`mien bench stream demo/clip.mp4 --faces mien-face haar --record docs/results/bench-stream-cpu.json`

The bare loop calls detector and network on the same frames with the same threads; it and two pipelines take turns of a
few frames, timed by the processor's clock of their thread, which stands while others compute. Frames are held in
memory: decoding is in no figure. What a detection every frame finds is the measure of what is followed: where the
detector errs, following errs with it. How old a frame is when its event is written, and processor and memory of a whole
stream, are `glass_to_event.py`'s, which plays the same frames as a camera.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.bench.bootstrap import interval_of_median
from runtime.bench.glass_to_event import Plan, measure_latency
from runtime.camera import open_source
from runtime.camera.source import Frame, FrameSource
from runtime.card import Model
from runtime.engines import open_engine
from runtime.errors import BadInput
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector
from runtime.faces.detector import FaceDetector, Faces
from runtime.machine import describe_machine
from runtime.pipeline import Pipeline, Scene
from runtime.tracks.steady import SteadyLabels, SteadyRules
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules, overlaps

SIZE = (640, 480)
FRAMES, CHUNK, TURNS = 300, 20, 15  # of the clip; of a turn; turns, so that a short clip is seen again
SAME_FACE = 0.5  # overlap from which a box stands for a detected one
ASKED = {"of_bare": 0.95, "follow_milliseconds": 1.0}


@dataclass(frozen=True)
class Paced:
    """How the frames are played as a camera: so many a second, for so many seconds a row; 0 seconds: not at all."""

    fps: float = 15.0
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000 or not 0 <= self.seconds <= 3600:
            raise BadInput(f"expected fps of 0–1000 and 0–3600 seconds, found {self.fps:g} and {self.seconds:g}")


class Replay(FrameSource):
    """Frames from memory, again and again; a second iteration goes on where the first one stopped."""

    def __init__(self, frames: Sequence[np.ndarray], fps: float):
        """Hold BGR frames of one size."""
        self.name, self.fps, self.size, self.damaged = "replay", fps, SIZE, 0
        self._frames = (Frame(image, index, index / fps) for index, image in enumerate(cycle(frames)))

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        """Nothing is open."""


class Looks:
    """A detector that remembers whether it looked at the frame in work."""

    def __init__(self, detector: FaceDetector):
        """Stand before another detector."""
        self.name, self._detector, self.looked = detector.name, detector, False

    def detect(self, frame: np.ndarray) -> Faces:
        """Detect, and remember it."""
        self.looked = True
        return self._detector.detect(frame)

    def close(self) -> None:
        """The detector is closed by who opened it."""


class TimedTracker(FaceTracker):
    """A tracker whose own work is timed by the thread's clock."""

    seconds = 0.0

    def follow(self, frame: Frame) -> bool:
        """Follow, timed."""
        began = time.thread_time()
        due = super().follow(frame)
        self.seconds += time.thread_time() - began
        return due


@dataclass(frozen=True)
class Shown:
    """What one frame showed: whether the detector saw it; boxes (N, 4), and one track and label a face."""

    detected: bool
    boxes: np.ndarray
    tracks: Sequence[int]
    raw: Sequence[str]
    steady: Sequence[str]


class Run:
    """One pipeline over the replayed frames, and what it showed."""

    def __init__(self, frames: Sequence[np.ndarray], fps: float, detector: FaceDetector, reader: ExpressionReader,
                 every: int, births: int):
        """Join a pipeline as a kiosk does, with a detection every so many frames."""
        self._detector, self.tracker = Looks(detector), TimedTracker(TrackRules(births=births), every)
        self.shown: list[Shown] = []
        self._done = 0
        self.pipeline = Pipeline(Replay(frames, fps), self._detector, reader, [self._note], self.tracker,
                                 SteadyLabels(reader.labels, SteadyRules()))

    def turn(self, count: int) -> None:
        """Pass so many frames more."""
        self._done += count
        self.pipeline.run(max_frames=self._done)

    def _note(self, scene: Scene) -> None:
        raw, steady = ([e.label if e else "" for e in read] for read in (scene.expressions, scene.steady))
        self.shown.append(Shown(self._detector.looked, scene.faces.boxes, scene.tracks, raw, steady))
        self._detector.looked = False


def measure_scene(
    frames: Sequence[np.ndarray], fps: float, detector: FaceDetector, reader: ExpressionReader, every: int, births: int,
    turns: int,
) -> dict[str, Any]:
    """Compare the bare loop with pipelines that detect every frame and every k-th, on one clip."""
    def bare(images: Iterator[np.ndarray]) -> None:
        for image in islice(images, CHUNK):
            reader.infer(reader.crop(image, detector.detect(image).boxes))

    images = cycle(frames)
    always, following = Run(frames, fps, detector, reader, 1, 1), Run(frames, fps, detector, reader, every, births)
    entrants: list[Callable[[], None]] = [lambda: bare(images), lambda: always.turn(CHUNK),
                                          lambda: following.turn(CHUNK)]
    seconds = np.zeros((turns, len(entrants)))
    began, used = time.perf_counter(), time.thread_time()
    for turn in range(turns):
        for place in np.roll(np.arange(len(entrants)), turn):
            start = time.thread_time()
            entrants[place]()
            seconds[turn, place] = time.thread_time() - start
    share = (time.thread_time() - used) / (time.perf_counter() - began)
    rates = {name: round(CHUNK / float(np.median(seconds[:, i])), 2)
             for i, name in enumerate(("bare", "every_frame", f"every_{every}"))}
    of_bare, gained = seconds[:, 0] / seconds[:, 1], seconds[:, 1] / seconds[:, 2]
    shown, detections = len(following.shown), following.pipeline.tally().detections
    return {
        "frames_per_second": rates,
        "of_bare": _with_interval(of_bare), "gained_by_following": _with_interval(gained),
        "follow_milliseconds": round(1e3 * following.tracker.seconds / shown, 3),
        "detected_share_of_frames": round(detections / shown, 3),
        "boxes": agreement(always, following),
        "label_changes_a_minute": {
            "raw": _changes(always.shown, lambda shown: shown.raw, fps),
            "steady": _changes(always.shown, lambda shown: shown.steady, fps),
            f"steady_every_{every}": _changes(following.shown, lambda shown: shown.steady, fps)},
        "tracks": {"every_frame": always.tracker.given, f"every_{every}": following.tracker.given},
        "wall_milliseconds": {"every_frame": always.pipeline.tally().stage_milliseconds,
                              f"every_{every}": following.pipeline.tally().stage_milliseconds},
        "share_of_a_core": round(share, 3)}


def agreement(always: Run, following: Run) -> dict[str, float]:
    """Compare the boxes of frames that were followed with what a detection found in the same frames."""
    best, found, missed, extra = [], 0, 0, 0
    for wanted, shown in zip(always.shown, following.shown):
        if shown.detected:
            continue
        overlap = overlaps(shown.boxes.astype(np.float64), wanted.boxes.astype(np.float64))
        nearest = overlap.max(axis=1, initial=0)
        best += nearest[nearest >= SAME_FACE].tolist()
        extra += int((nearest < SAME_FACE).sum())
        found += len(wanted.boxes)
        missed += int((overlap.max(axis=0, initial=0) < SAME_FACE).sum())
    mean, low = (float(np.mean(best)), float(np.quantile(best, 0.05))) if best else (0.0, 0.0)
    recall, precision = 1 - missed / max(1, found), 1 - extra / max(1, extra + len(best))
    return {"mean_overlap": round(mean, 3), "p5_overlap": round(low, 3), "recall": round(recall, 4),
            "precision": round(precision, 4), "detected_faces": found}


def _changes(shown: Sequence[Shown], labels_of: Callable[[Shown], Sequence[str]], fps: float) -> float:
    """Return how often a face's label changed from one frame to the next, a minute of faces seen."""
    changes = pairs = 0
    for before, now in pairwise(shown):
        old = dict(zip(before.tracks, labels_of(before)))
        for track, label in zip(now.tracks, labels_of(now)):
            if track in old:
                pairs += 1
                changes += old[track] != label
    return round(60 * fps * changes / max(1, pairs), 2)


def _with_interval(ratios: np.ndarray) -> dict[str, Any]:
    return {"median": round(float(np.median(ratios)), 4),
            "interval": [round(edge, 4) for edge in interval_of_median(ratios)]}


def load_frames(clip: Path, most: int = FRAMES) -> tuple[list[np.ndarray], float]:
    """Read a video's first frames as 640×480 BGR, and its rate. Raises BadInput where there are too few."""
    with open_source(str(clip)) as source:
        frames = [cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA)
                  for frame in islice(source, most) if frame is not None]
        fps = source.fps or 25.0
    if len(frames) < 3 * CHUNK:
        raise BadInput(f"expected a video of at least {3 * CHUNK} frames, found {len(frames)} in {clip}; "
                       "choose another")
    return frames, fps


def three_of(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Show a clip three times in one frame, at half size and a third of its length apart."""
    small = [cv2.resize(frame, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA) for frame in frames]
    mosaics = []
    for index in range(len(small)):
        mosaic = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        for number, (left, top) in enumerate(((0, 0), (SIZE[0] // 2, 0), (SIZE[0] // 4, SIZE[1] // 2))):
            mosaic[top : top + SIZE[1] // 2, left : left + SIZE[0] // 2] = small[
                (index + number * len(small) // 3) % len(small)]
        mosaics.append(mosaic)
    return mosaics


def measure(clip: Path, model: Model, precision: str, detectors: Sequence[str], every: int, births: int,
            paced: Paced) -> dict[str, Any]:
    """Return all figures of the module's docstring, one row a detector and number of faces. Raises BadInput."""
    if min(every, births) < 1:
        raise BadInput(f"expected a detection every 1 or more frames and births of 1 or more, found {every} and "
                       f"{births}")
    cv2.setNumThreads(1)
    frames, fps = load_frames(clip)
    engine, load = open_engine(model, precision, "cpu", 1), os.getloadavg()
    reader, rows = ExpressionReader(model, engine), []
    for which in detectors:
        with closing(open_detector(which, threads=1)) as detector:
            for faces, images in ((1, frames), (3, three_of(frames))):
                found = measure_scene(images, fps, detector, reader, every, births, TURNS)
                met = {"of_bare": found["of_bare"]["median"] >= ASKED["of_bare"],
                       "follow_milliseconds": found["follow_milliseconds"] <= ASKED["follow_milliseconds"]}
                plan = Plan(which, str(model.directory), precision, every, births, paced.fps, paced.seconds)
                live = measure_latency(np.stack(images), plan) if paced.seconds else None
                rows.append({"detector": Path(which).name, "faces": faces, "met": met, **found, "live": live})
    engine.close()
    return {"clip": {"name": clip.name, "sha256": hashlib.sha256(clip.read_bytes()).hexdigest(),
                     "frames": len(frames), "fps": fps, "size": list(SIZE)},
            "model": model.card.name, "precision": precision, "target": "cpu", "threads": 1, "every": every,
            "births": births, "asked": ASKED, "rows": rows,
            "load_average": {"before": load, "after": os.getloadavg()}, "made_on": describe_machine()}


def to_text(record: dict[str, Any]) -> list[str]:
    """Return a record's rows as the lines of a table."""
    every = record["every"]
    lines = [f"{'detector':26} {'faces':>5} {'bare/s':>8} {'pipeline/s':>10} {'of bare':>8} {f'every {every}/s':>10} "
             f"{'follow ms':>9} {'event ms p50':>12} {'p99':>7}"]
    for row in record["rows"]:
        rates, age = row["frames_per_second"], row["live"]["milliseconds"]["glass_to_event"] if row["live"] else {}
        lines.append(f"{row['detector']:26} {row['faces']:5} {rates['bare']:8.1f} {rates['every_frame']:10.1f} "
                     f"{row['of_bare']['median']:8.3f} {rates[f'every_{every}']:10.1f} "
                     f"{row['follow_milliseconds']:9.3f} {age.get('p50', '–'):>12} {age.get('p99', '–'):>7}")
    return lines
