"""How old a frame is when its event is written, stage by stage, and what a stream takes of processor and memory.

A process of its own joins what a kiosk joins: the capture process and its ring, detector, network, tracks, the events
file. Another plays given frames through a pipe at a camera's pace, so "glass" is the moment at which the capture
process has a frame whole: exposure, the sensor's read-out and a driver's queue are a real camera's, and in no figure.
Wall times: where others compute on the same cores, `waited_for_core` says how much of the time went to them.
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from runtime.bench.interleave import seconds_without_core
from runtime.camera import open_source
from runtime.camera.source import Frame, FrameSource
from runtime.card import load_model
from runtime.engines import open_engine
from runtime.errors import MienError
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector
from runtime.machine import peak_memory
from runtime.pipeline import Pipeline, Scene
from runtime.sinks.events import EventLog
from runtime.stage_times import StageTimes
from runtime.tracks.steady import SteadyLabels
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules

ROOT = Path(__file__).parents[2]
STAGES = ("follow", "detect", "crop", "infer", "sinks")  # of the pipeline, but for its waiting for a frame
WARM_UP_FRAMES = 25  # not counted: the first runs of engines allocate
PATIENCE = 120.0  # s beside those asked for; a dark or a still clip gives a live source no frame to score, for ever


@dataclass(frozen=True)
class Plan:
    """What to stream: a detector and a model by name or path, paced `fps` frames a second, for so many `seconds`."""

    detector: str
    model: str
    precision: str
    every: int
    births: int
    fps: float
    seconds: float


class Arrivals(FrameSource):
    """A live source that notes how old each frame was when the pipeline took it."""

    live = True

    def __init__(self, source: FrameSource):
        """Stand before an open source, which who opened it closes. A second iteration goes on where the first was."""
        self.name, self.fps, self.size, self.damaged = source.name, source.fps, source.size, 0
        self.times = StageTimes()
        self._frames = self._noted(source)

    def __iter__(self) -> Iterator[Frame | None]:
        return self._frames

    def close(self) -> None:
        """Nothing is open."""

    def _noted(self, source: FrameSource) -> Iterator[Frame | None]:
        for frame in source:
            if frame is not None and frame.captured is not None:
                self.times.add("arrival", time.monotonic() - frame.captured)
            yield frame


def measure_latency(frames: np.ndarray, plan: Plan) -> dict[str, Any]:
    """Stream frames (N, H, W, 3) BGR uint8 in a process of its own, and return the figures. Raises MienError.

    Milliseconds are p50, p95, p99: `arrival` from glass to the pipeline, its stages, `glass_to_event` over all.
    """
    with TemporaryDirectory(prefix="mien-latency-") as folder:
        np.save(Path(folder) / "frames.npy", frames)
        try:
            child = subprocess.run([sys.executable, "-m", __name__, folder, json.dumps(asdict(plan))], cwd=ROOT,
                                   capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                                   timeout=plan.seconds + PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise MienError(f"expected {plan.seconds:g} s of usable frames from the clip played as a camera, found too "
                            f"few in {error.timeout:g} s; choose one that is neither dark nor still") from error
        if child.returncode != 0:
            said = child.stderr.strip().splitlines()
            raise MienError(f"expected to stream with {plan.detector}, found: "
                            f"{said[-1] if said else f'exit code {child.returncode}'}")
        found: dict[str, Any] = json.loads(child.stdout)
        return found


def _stream(folder: Path, plan: Plan) -> dict[str, Any]:
    cv2.setNumThreads(1)
    height, width = np.load(folder / "frames.npy", mmap_mode="r").shape[1:3]
    camera = shlex.join([sys.executable, "-m", "runtime.bench.paced_frames", str(folder / "frames.npy"), str(plan.fps)])
    model = load_model(Path(plan.model))
    reader = ExpressionReader(model, open_engine(model, plan.precision, "cpu", 1))
    detector = open_detector(plan.detector, threads=1)
    events, tracker = EventLog(folder / "events.jsonl"), FaceTracker(TrackRules(births=plan.births), plan.every)

    def write(scene: Scene) -> None:
        events.write_faces(scene.frame, scene.faces, scene.expressions, reader.labels, scene.tracks, scene.steady)

    with open_source(f"pipe:{width}x{height}:{camera}") as source:
        arrivals, labels = Arrivals(source), SteadyLabels(reader.labels)
        Pipeline(arrivals, detector, reader, [write], tracker, labels).run(max_frames=WARM_UP_FRAMES)
        arrivals.times, dropped = StageTimes(), source.counts()["dropped"]
        until = time.monotonic() + plan.seconds
        used, waited = time.process_time(), seconds_without_core()
        tally = Pipeline(arrivals, detector, reader, [write], tracker, labels).run(lambda: time.monotonic() > until)
        used, waited = time.process_time() - used, seconds_without_core() - waited
        dropped = source.counts()["dropped"] - dropped
    events.close()
    captured = resource.getrusage(resource.RUSAGE_CHILDREN)
    stages = {name: tally.stage_milliseconds[name] for name in STAGES if name in tally.stage_milliseconds}
    return {"frames": tally.frames, "dropped": dropped, "fps": plan.fps,
            "milliseconds": {**arrivals.times.report(), **stages, "glass_to_event": tally.age_milliseconds},
            "processor_milliseconds_a_frame": round(1000 * used / max(1, tally.frames), 3),
            "share_of_a_core": round(used / tally.seconds, 3),
            # of the whole run, the start of Python in both and the warm-up too
            "capture_and_camera_processor_seconds": round(captured.ru_utime + captured.ru_stime, 2),
            "peak_resident_mib": round(peak_memory() / 2**20, 1),
            "waited_for_core": round(waited / tally.seconds, 3)}


if __name__ == "__main__":
    print(json.dumps(_stream(Path(sys.argv[1]), Plan(**json.loads(sys.argv[2]))), allow_nan=False))
