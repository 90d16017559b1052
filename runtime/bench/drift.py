"""What the drift monitor costs a stream: frames a second and the slowest frames, with it and without.

python -m runtime.bench.drift demo/clip.mp4 --record docs/results/bench-drift-cpu.json

Three pipelines take turns of a few frames of one clip, held in memory: without a monitor, with one as it comes, and
with one that is limited by its budget alone. Every frame's face is given as another person's: the most samples.
Wall times hold what a frame waits for, the worker's Python lock too, but also for whoever else computes on the machine;
the loop thread's own processor time holds neither. Both are given, with intervals over turns. Knows no accuracy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.bench.record import layout
from runtime.bench.stream import CHUNK, Replay, load_frames
from runtime.card import Model, load_model
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import DriftMonitor
from runtime.durable import write_text
from runtime.engines import graph_for, open_engine
from runtime.expressions import Expression, ExpressionReader
from runtime.faces import open_detector
from runtime.faces.detector import FaceDetector
from runtime.machine import describe_machine
from runtime.pipeline import Pipeline
from runtime.tracking import FaceTracker
from runtime.tracks import TrackRules

MONITORS = {"off": None, "as it comes": DriftConfig(), "at its budget": DriftConfig(seconds_between=0.0)}
DRAWS = 1000
ASKED = {"throughput_lost": 0.02, "p99_gained": 0.05}


class Run:
    """One pipeline as a kiosk has it, its monitor, and how long each frame took."""

    def __init__(self, frames: Sequence[np.ndarray], fps: float, detector: FaceDetector, reader: ExpressionReader,
                 monitor: DriftMonitor | None, every: int):
        """Join a pipeline with a detection every so many frames."""
        self.monitor = monitor
        self.times: list[tuple[float, float]] = []  # of each frame: the wall's, the loop thread's own
        self._people, self._done, self._last = count(), 0, (0.0, 0.0)
        self._pipeline = Pipeline(Replay(frames, fps), detector, reader, tracker=FaceTracker(TrackRules(), every),
                                  on_progress=self._note, on_read=self._read)

    def turn(self) -> None:
        """Pass CHUNK frames more."""
        self._done += CHUNK
        self._last = time.perf_counter(), time.thread_time()
        self._pipeline.run(max_frames=self._done)

    def _note(self) -> None:
        now, before = (time.perf_counter(), time.thread_time()), self._last
        self.times.append((now[0] - before[0], now[1] - before[1]))
        self._last = now

    def _read(self, crops: np.ndarray, boxes: np.ndarray, answers: Sequence[Expression | None],
              tracks: Sequence[int], seconds: float) -> None:
        if self.monitor:
            self.monitor.offer(crops, boxes, answers, [next(self._people) for _ in tracks], seconds)


def measure(clip: Path, model: Model, precision: str, faces: str, every: int, turns: int) -> dict[str, Any]:
    """Return all figures of the module's docstring, one row a monitor."""
    cv2.setNumThreads(1)
    frames, fps = load_frames(clip)
    engine, detector = open_engine(model, precision, "cpu", 1), open_detector(faces, threads=1)
    reader = ExpressionReader(model, engine)
    runs = {name: Run(frames, fps, detector, reader,
                      DriftMonitor(model, graph_for(precision, "cpu"), "cpu", config) if config else None, every)
            for name, config in MONITORS.items()}
    began, cpu = time.perf_counter(), time.process_time()
    for turn in range(-1, turns):  # the first warms up
        for name in np.roll(list(runs), turn):
            runs[name].turn()
        if turn < 0:
            for run in runs.values():
                run.times.clear()
            began, cpu = time.perf_counter(), time.process_time()
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    times = {name: np.array(run.times).reshape(turns, CHUNK, 2) for name, run in runs.items()}
    rows = [row(name, times[name], times["off"], run) for name, run in runs.items()]
    for run in runs.values():
        if run.monitor:
            run.monitor.close()
    detector.close()
    engine.close()
    return {"clip": clip.name, "model": model.card.name, "precision": precision, "target": "cpu", "threads": 1,
            "faces": Path(faces).name, "detect_every": every, "frames_of_each": turns * CHUNK, "asked": ASKED,
            "rows": rows, "cores_used": round(share, 3), "made_on": describe_machine()}


def row(name: str, times: np.ndarray, off: np.ndarray, run: Run) -> dict[str, Any]:
    """Compare one monitor's frames, (turns, CHUNK, 2) seconds, with those without one."""
    status = run.monitor.status() if run.monitor else {}
    facts: dict[str, Any] = {key: status[key] for key in ("samples", "dropped", "cpu_seconds") if key in status}
    by: dict[str, Any] = {}
    for clock, seconds, without in (("wall", times[..., 0], off[..., 0]), ("loop_thread", times[..., 1], off[..., 1])):
        by[clock] = {"frames_per_second": round(seconds.size / float(seconds.sum()), 2),
                     "milliseconds": {f"p{p}": round(1e3 * float(np.percentile(seconds, p)), 3) for p in (50, 95, 99)},
                     "throughput": _ratio(without, seconds, np.sum),
                     "p99": _ratio(seconds, without, lambda s: np.percentile(s, 99))}
    return {"monitor": name, **by, **facts}


def _ratio(above: np.ndarray, below: np.ndarray, of: Any, seed: int = 0) -> dict[str, Any]:
    """Return of(above) / of(below) over all frames, with its 95 % interval over redrawn turns, paired."""
    generator, draws = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        turns = generator.integers(0, len(above), len(above))
        draws.append(of(above[turns]) / of(below[turns]))
    return {"ratio": round(float(of(above) / of(below)), 4),
            "interval": [round(float(edge), 4) for edge in np.quantile(draws, [0.025, 0.975])]}


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clip", type=Path, help="a video with a face; make demo leaves demo/clip.mp4")
    parser.add_argument("--model", type=Path, default=Path("mien-light"))
    parser.add_argument("--precision", default="int8", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--faces", default="haar", help="haar, a shipped detector, or a YuNet ONNX file")
    parser.add_argument("--every", type=int, default=5, help="frames between two detections")
    parser.add_argument("--turns", type=int, default=300, help=f"turns of {CHUNK} frames of each pipeline")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    text = layout(measure(args.clip, load_model(args.model), args.precision, args.faces, args.every, args.turns))
    write_text(args.record, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
