"""What the drift monitor costs a stream: frames a second and the slowest frames, with it and without.

python -m runtime.bench.drift demo/clip.mp4 --record docs/results/bench-drift-cpu.json

Two pipelines, one with a monitor, take turns of 25 frames: the same frames of one clip, held in memory, so that turns
are pairs. The monitor samples as often a frame as behind a camera: once in its `seconds_between` of the clip's time.
Each frame is timed by three clocks. The process's counts the worker's every cycle against the frame beside which it
ran: a stream with one core to itself loses no more. It stands while other processes compute, so it decides. The wall's
also holds what a frame waits for Python's lock, and whoever else computes here; the loop thread's, what the loop itself
does for the monitor. Intervals are of redrawn pairs. Knows no accuracy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.bench.record import layout
from runtime.bench.stream import Replay, load_frames
from runtime.card import Model, load_model
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import DriftMonitor
from runtime.durable import write_text
from runtime.engines import graph_for, open_engine
from runtime.errors import BadInput, MienError
from runtime.expressions import Expression, ExpressionReader
from runtime.faces import open_detector
from runtime.faces.detector import FaceDetector
from runtime.machine import describe_machine
from runtime.pipeline import Pipeline
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules

TURN = 25  # frames; a second of a camera
DRAWS = 1000
SETTLE_SECONDS = 0.002  # between two looks whether the worker is done
CLOCKS: dict[str, Callable[[], float]] = {
    "process": time.process_time, "wall": time.perf_counter, "loop_thread": time.thread_time}
ASKED = {"throughput_lost": 0.02, "p99_gained": 0.05}


class Run:
    """One pipeline as a kiosk has it, its monitor, and how long each frame took by each clock."""

    def __init__(self, frames: Sequence[np.ndarray], fps: float, detector: FaceDetector, reader: ExpressionReader,
                 monitor: DriftMonitor | None, detect_every: int, sample_every: int):
        """Join a pipeline with a detection, and another person's face, every so many frames."""
        self.monitor = monitor
        self.frames: list[tuple[float, ...]] = []  # seconds by each clock
        self.after: list[tuple[float, ...]] = []  # of each turn: what the worker still took once its frames were done
        self._done, self._passed, self._sample_every, self._last = 0, 0, sample_every, _clocks()
        self._pipeline = Pipeline(Replay(frames, fps), detector, reader,
                                  tracker=FaceTracker(TrackRules(), detect_every),
                                  on_progress=self._note, on_read=self._read)

    def turn(self) -> None:
        """Pass TURN frames more, and wait for the worker, so that the next turn is not slowed by this one."""
        self._done += TURN
        self._last = _clocks()
        self._pipeline.run(max_frames=self._done)
        began = _clocks()
        while self.monitor and self.monitor.waiting:
            time.sleep(SETTLE_SECONDS)
        self.after.append(_since(began))

    def forget(self) -> None:
        """Forget the times so far."""
        self.frames.clear()
        self.after.clear()

    def _note(self) -> None:
        self.frames.append(_since(self._last))
        self._passed += 1
        self._last = _clocks()

    def _read(self, crops: np.ndarray, boxes: np.ndarray, answers: Sequence[Expression | None],
              tracks: Sequence[int], seconds: float) -> None:
        if self.monitor:
            person = self._passed // self._sample_every
            self.monitor.offer(crops, boxes, answers, [person] * len(tracks), seconds)


def _clocks() -> tuple[float, ...]:
    return tuple(clock() for clock in CLOCKS.values())


def _since(began: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(now - then for now, then in zip(_clocks(), began))


def measure(clip: Path, model: Model, precision: str, faces: str, every: int, pairs: int) -> dict[str, Any]:
    """Return all figures of the module's docstring. Raises BadInput for under two pairs, MienError without samples."""
    if pairs < 2:
        raise BadInput(f"expected --pairs of 2 or more, found {pairs}")
    cv2.setNumThreads(1)
    frames, fps = load_frames(clip)
    config = DriftConfig()
    sample_every = max(1, round(config.seconds_between * fps))
    engine, detector = open_engine(model, precision, "cpu", 1), open_detector(faces, threads=1)
    reader = ExpressionReader(model, engine)
    monitor = DriftMonitor(model, graph_for(precision, "cpu"), "cpu", DriftConfig(seconds_between=0.0))
    runs = {name: Run(frames, fps, detector, reader, watched, every, sample_every)
            for name, watched in (("off", None), ("on", monitor))}
    before = monitor.status()
    for pair in range(-2, pairs):  # the first two warm up
        for name in sorted(runs, reverse=bool(pair % 2)):  # who goes first changes
            runs[name].turn()
        if pair == -1:
            before = monitor.status()
            for run in runs.values():
                run.forget()
    status = monitor.status()
    monitor.close()
    detector.close()
    engine.close()
    samples = status["samples"] - before["samples"]
    if status["state"] == "failed" or not samples:
        raise MienError(f"expected samples of the clip's faces, found {samples} {status['why']}; are faces in {clip}?")
    costs = {name: cost(runs["on"], runs["off"], place) for place, name in enumerate(CLOCKS)}
    return {"clip": clip.name, "model": model.card.name, "precision": precision, "target": "cpu", "threads": 1,
            "faces": Path(faces).name, "detect_every": every, "frames_of_each": pairs * TURN, "pairs": pairs,
            "frames_between_samples": sample_every, "samples": samples, "dropped": status["dropped"],
            "milliseconds_a_sample": round(1e3 * (status["cpu_seconds"] - before["cpu_seconds"]) / samples, 3),
            "asked": ASKED, "met": all(costs["process"][name]["interval"][1] <= most for name, most in ASKED.items()),
            "clocks": costs, "made_on": describe_machine()}


def cost(on: Run, off: Run, clock: int) -> dict[str, Any]:
    """Compare two runs by one clock: the share of frames a second lost, and what p99 gained, as shares."""
    with_it, without = (np.array(run.frames)[:, clock].reshape(-1, TURN) for run in (on, off))
    turns = with_it.sum(axis=1), without.sum(axis=1)
    if list(CLOCKS)[clock] == "process":  # by the others waiting for the worker is the bench's time, not the stream's
        turns = turns[0] + np.array(on.after)[:, clock], turns[1] + np.array(off.after)[:, clock]
    return {
        "frames_per_second": {name: round(times.size / float(sums.sum()), 2)
                              for name, times, sums in (("on", with_it, turns[0]), ("off", without, turns[1]))},
        "milliseconds": {name: {f"p{p}": round(1e3 * float(np.percentile(times, p)), 3) for p in (50, 95, 99)}
                         for name, times in (("on", with_it), ("off", without))},
        "throughput_lost": _of_pairs(turns[0], turns[1], lambda on, off: 1 - off.sum() / on.sum()),
        "p99_gained": _of_pairs(with_it, without, lambda on, off: np.percentile(on, 99) / np.percentile(off, 99) - 1)}


def _of_pairs(on: np.ndarray, off: np.ndarray, of: Callable[[np.ndarray, np.ndarray], Any]) -> dict[str, Any]:
    """Return a figure of all pairs, with its 95 % percentile interval over pairs redrawn."""
    draws = np.random.default_rng(0).integers(0, len(on), (DRAWS, len(on)))
    low, high = np.quantile([of(on[pairs], off[pairs]) for pairs in draws], [0.025, 0.975])
    return {"share": round(float(of(on, off)), 5), "interval": [round(float(low), 5), round(float(high), 5)]}


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clip", type=Path, help="a video with a face; make demo leaves demo/clip.mp4")
    parser.add_argument("--model", type=Path, default=Path("mien-light"))
    parser.add_argument("--precision", default="int8", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--faces", default="haar", help="haar, a shipped detector, or a YuNet ONNX file")
    parser.add_argument("--every", type=int, default=5, help="frames between two detections")
    parser.add_argument("--pairs", type=int, default=1000, help=f"turns of {TURN} frames of each pipeline")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    text = layout(measure(args.clip, load_model(args.model), args.precision, args.faces, args.every, args.pairs))
    write_text(args.record, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
