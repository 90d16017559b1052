"""The real stream over very many frames, as fast as it goes: does its memory grow, are descriptors and threads level?

python -m runtime.bench.soak --face portrait.jpg --frames 1000000 --record docs/results/soak-cpu.json

Small drawn frames with one real face, every stage and sink that a kiosk has without a camera, a network or a screen;
events are kept and read back. Memory is fitted over frames by means of equal blocks, for samples close in time resemble
each other; what comes before the first fifth of the frames is warm-up. Knows nothing of what a camera's driver leaks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench.record import layout
from runtime.durable import write_text
from runtime.errors import DONE, FAILED, INCONCLUSIVE, BadInput, MienError
from runtime.machine import describe_machine
from runtime.sinks.event_files import EventFiles, rotated_files
from runtime.stream import Summary, run_stream
from runtime.stream_config import MetricsConfig, StreamConfig, SupervisionConfig
from runtime.supervision.core_dumps import forbid_core_dumps
from runtime.supervision.memory_slope import resident_memory

BLOCKS = 20  # of samples, after warm-up
ONE_SIDED_95 = 1.734  # Student's t, 18 degrees of freedom (BLOCKS - 2): NIST/SEMATECH e-Handbook, 1.3.6.7.2
WARM_UP = 0.2  # of the frames
ASKED_MB = 1.0  # per PER_FRAMES, for the bound
PER_FRAMES = 100_000
LEAST_SAMPLES = 5 * BLOCKS
STRAY = 2  # descriptors or threads that are there for a moment: a flush of events has one of each
VERDICTS = {"met": DONE, "missed": FAILED, "too few frames to tell": INCONCLUSIVE}


@dataclass(frozen=True)
class Sample:
    """One look at this process: time.monotonic() and counts; memory in bytes."""

    at: float
    memory: int
    descriptors: int
    threads: int


@contextmanager
def sampled(samples: list[Sample], every: float) -> Iterator[None]:
    """Look at this process every so many seconds, from a thread of its own."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(every):
            samples.append(Sample(time.monotonic(), resident_memory(), len(os.listdir("/proc/self/fd")) - 1,
                                  threading.active_count() - 1))  # without the listing's descriptor, and this thread

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True)
class EventCount:
    """What lay in the events files: events, numbers twice and missing, and (N, 2) of monotonic time and frame."""

    events: int
    twice: int
    missing: int
    frames: np.ndarray


def read_events(path: Path) -> EventCount:
    """Read every line of the file and of those rotated away, oldest first; each must be whole."""
    numbers, frames = [], []
    for file in (*rotated_files(path), path):
        with open(file, "rb") as lines:
            for line in lines:
                event = json.loads(line)
                numbers.append(event["seq"])
                if event["event"] == "faces":
                    frames.append((event["monotonic"], event["frame"]))
    distinct = len(set(numbers))
    return EventCount(len(numbers), len(numbers) - distinct, max(numbers) + 1 - distinct, np.array(frames))


def memory_by_frames(frames: np.ndarray, memory: np.ndarray) -> dict[str, Any]:
    """Return the slope of memory (N,) bytes over frames (N,), in MB per PER_FRAMES, and its one-sided 95 % bound."""
    x = np.array([block.mean() for block in np.array_split(frames, BLOCKS)]) / PER_FRAMES
    y = np.array([block.mean() for block in np.array_split(memory, BLOCKS)]) / 1e6
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    residual = y - y.mean() - slope * (x - x.mean())
    error = float(np.sqrt((residual**2).sum() / (BLOCKS - 2) / spread))
    return {"slope": round(slope, 4), "upper_bound_95": round(slope + ONE_SIDED_95 * error, 4), "blocks": BLOCKS,
            "first_mb": round(float(y[0]), 2), "last_mb": round(float(y[-1]), 2)}


def soak(face: Path, frames: int, seconds: float) -> dict[str, Any]:
    """Return the record: a run of so many frames, with some 600 samples over the seconds that it may take."""
    samples: list[Sample] = []
    load = [round(v, 2) for v in os.getloadavg()]
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        (folder / "faces").mkdir()
        shutil.copy(face, folder / "faces")
        config = StreamConfig(
            f"synthetic://?size=192x144&frames={frames}&faces={folder / 'faces'}", target="cpu", threads=1,
            events=folder / "events.jsonl", event_files=EventFiles(rotate_mb=4.0, keep=0),
            metrics=MetricsConfig(port=_free_port()), supervision=SupervisionConfig(state=folder / "state"))
        with sampled(samples, max(0.05, seconds / 600)):
            summary = run_stream(config)
        events = read_events(folder / "events.jsonl")
    return {**_facts(summary, events, samples), "load_average": {"before": load,
            "after": [round(v, 2) for v in os.getloadavg()]}, "made_on": describe_machine()}


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _facts(summary: Summary, events: EventCount, samples: list[Sample]) -> dict[str, Any]:
    at = np.array([s.at for s in samples])
    frames = np.interp(at, events.frames[:, 0], events.frames[:, 1]) if len(events.frames) else np.zeros(len(at))
    warm = (frames > WARM_UP * summary.frames) & (at <= (events.frames[-1, 0] if len(events.frames) else 0))
    if warm.sum() < LEAST_SAMPLES:
        raise MienError(f"expected {LEAST_SAMPLES} samples of memory after warm-up, found {int(warm.sum())} in "
                        f"{summary.frames} frames with {summary.frames_with_faces} faces; ask for more frames, or "
                        "another --face")
    memory = memory_by_frames(frames[warm], np.array([s.memory for s in samples])[warm])
    counts = {name: [min(values), max(values)] for name in ("descriptors", "threads")
              for values in [[getattr(s, name) for s, w in zip(samples, warm) if w]]}
    level = all(most - least <= STRAY for least, most in counts.values())
    sound = level and events.twice == events.missing == summary.lost_events == 0
    verdict = "met" if sound and memory["upper_bound_95"] <= ASKED_MB else "missed"
    if sound and verdict == "missed" and summary.frames < PER_FRAMES:  # what start-up left would be taken for a slope
        verdict = "too few frames to tell"
    return {"frames": summary.frames, "frames_with_faces": summary.frames_with_faces,
            "frames_per_second": summary.frames_per_second, "seconds": summary.seconds,
            "memory_mb_per_100000_frames": memory, "samples": int(warm.sum()), "warm_up_share": WARM_UP,
            **{f"{name}_least_and_most": span for name, span in counts.items()},
            "events": {"written": events.events, "numbers_twice": events.twice, "numbers_missing": events.missing,
                       "lost": summary.lost_events},
            "asked_upper_bound_mb": ASKED_MB, "verdict": verdict}


def main() -> int:
    """Soak, print, and write the record; 1 where what was asked was missed, 4 where the frames are too few to tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--face", type=Path, required=True, help="a picture of one face")
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--seconds", type=float, default=600.0, help="what that takes here, for the rate of samples")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    forbid_core_dumps()
    try:
        if args.frames < 1000 or args.seconds <= 0:
            raise BadInput(f"expected 1000 frames and some seconds at least, found {args.frames} and {args.seconds:g}")
        record = soak(args.face, args.frames, args.seconds)
        write_text(args.record, layout(record) + "\n")
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return error.exit_code
    print(layout(record))
    return VERDICTS[record["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
