"""A few of the faces that an engine read → FP32, in a thread of low priority: how far apart they are, over time.

`offer` is called by the loop and takes microseconds: it copies one crop, or none. What waits is bounded, what does not
fit is dropped and counted. Crops live in memory until they were read, and nowhere else. Knows neither camera nor sinks.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.card import Model
from runtime.drift.baseline import read_baseline
from runtime.drift.config import DriftConfig
from runtime.drift.kept_ranges import FILE as RANGES
from runtime.drift.kept_ranges import KeptRanges
from runtime.drift.learned import CAMERA_FILE, ENGINE_FILE, LearnedBaselines, engine_words, learned_of
from runtime.drift.quantities import ABOVE_ONLY, ENGINE, WORLD, departure, log_kl, look_at, weigh
from runtime.drift.reference import Reference
from runtime.drift.watch import WINDOW, Watch, WatchRules
from runtime.expressions import Expression

log = logging.getLogger(__name__)

TRACK_SECONDS = 30.0  # between two samples of one face, doubled after each: who stays tells ever less that is new
ASAP = (-math.inf, TRACK_SECONDS)  # of a face not met before
MOST_TRACKS = 256  # remembered; the oldest are forgotten
WAITING = 2  # samples; they come seconds apart
# Added to the worker's nice value: a third of the loop's weight (sched(7)). Not the lowest: Python's lock is shared,
# and a worker that holds it and is never scheduled, for others keep the processor busy, would hold up the loop
NICER = 5
LOOK_SECONDS = 600.0  # without a sample: then what the last ones left is written in time, before a power cut
CLOSING_SECONDS = 3.0  # of the five in which a stream must have ended


@dataclass(frozen=True)
class Sample:
    """One face: its crop (C, H, W) uint8, its box's side in px, and the engine's probabilities; None: not finite."""

    crop: np.ndarray
    side: float
    probabilities: np.ndarray | None


class DriftMonitor:
    """Watches one engine file of one model; a few MB beside the FP32 session."""

    def __init__(self, model: Model, graph: str, target: str, config: DriftConfig, state: Path | None = None,
                 compiled_sha256: str = "", camera: str = ""):
        """Start the worker; `state` is the folder for what was seen and learned. Raises BadModel (damaged baseline).

        The card's departure is the CPU's; a compiled engine rounds in its own way, so its first samples are learned:
        of `compiled_sha256`, and of a camera by that name, which begins anew once it is told to `learn`.
        """
        baseline = None if config.learn else read_baseline(model)
        between = config.samples_between_alarms(1 + len(WORLD))
        known = baseline.of_world(model) if baseline else {}
        engine = baseline.of_engine(model, graph) if baseline and target == "cpu" else None
        if engine is not None:
            known[ENGINE] = engine
        self._watches = {name: Watch(WatchRules(config.tolerance, between, name in ABOVE_ONLY), known.get(name))
                         for name in (ENGINE, *WORLD)}
        self.knows_calibration = baseline is not None
        self._model, self._config = model, config
        self._kept = KeptRanges(state / RANGES if state else None)
        self._of_camera, self._of_engine = (LearnedBaselines(state / name if state else None)
                                            for name in (CAMERA_FILE, ENGINE_FILE))
        self._engine_words = functools.partial(engine_words, model, graph, target, compiled_sha256)
        self._camera = f"{camera} learn" if config.learn else camera
        self._agreed: deque[bool] = deque(maxlen=WINDOW)
        self._kl: deque[float] = deque(maxlen=WINDOW)
        self._shift: deque[float] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()
        self._queue: queue.Queue[Sample | Literal["export", "stop"]] = queue.Queue(WAITING)
        self._due, self._cost, self._cpu_seconds = 0.0, 0.0, 0.0
        self._tracks: dict[int, tuple[float, float]] = {}  # when its next sample is due, and the pause after that
        self._samples = self._dropped = self._accepted = 0
        self._failed = ""
        self._stopping, self._export_asked, self._waited_for_until = False, False, math.inf
        self._thread = threading.Thread(target=self._work, name="drift", daemon=True)
        self._thread.start()

    def offer(self, crops: np.ndarray, boxes: np.ndarray, answers: Sequence[Expression | None],
              tracks: Sequence[int], seconds: float) -> None:
        """Take what the engine read in one frame; keeps at most one face, and never waits.

        crops (N, C, H, W) uint8, boxes (N, 4) px, an answer and a track a face; `seconds` are the frame's.
        """
        now = time.monotonic()
        if now < self._due or self._failed:
            return
        place = next((n for n, track in enumerate(tracks) if seconds >= self._tracks.get(track, ASAP)[0]), None)
        if place is None:
            return
        answer, track = answers[place], tracks[place]
        pause = self._tracks.get(track, ASAP)[1]
        sample = Sample(crops[place].copy(), float(boxes[place, 2:].max()), answer.probabilities if answer else None)
        try:
            self._queue.put_nowait(sample)
            self._accepted += 1
        except queue.Full:
            self._dropped += 1
        self._tracks.pop(track, None)
        self._tracks[track] = (seconds + pause, 2 * pause)
        if len(self._tracks) > MOST_TRACKS:
            del self._tracks[next(iter(self._tracks))]
        self._due = now + max(self._config.seconds_between, self._cost / self._config.budget)

    @property
    def waiting(self) -> int:
        """How many samples were taken from the loop and are not read yet; none will be once `why` is told."""
        return 0 if self._failed else self._accepted - self._samples

    def export(self) -> None:
        """Have the worker write the histograms soon; it also does so every hour and at the end."""
        self._export_asked = True
        with suppress(queue.Full):  # a sample wakes the worker then
            self._queue.put_nowait("export")

    def status(self) -> dict[str, Any]:
        """Return all that is known in plain types: for metrics, events and a dashboard.

        agreement, kl (nats) and confidence_shift are means over the last 500 samples, None before the first. Of each
        quantity: its last value, the stability index, `evidence`, 0–1 of the way to an alarm, and how many samples the
        alarm has `stood`. The state is "learning" while the engine has no baseline yet.
        """
        with self._lock:
            watches = {name: {"last": round(w.last, 6), "stability": round(w.stability, 4),
                              "evidence": round(w.progress, 4), "alarming": w.alarming, "alarms": w.alarms,
                              "stood": w.stood,
                              "learning": w.learning, "samples": w.values}
                       for name, w in self._watches.items()}
            learning = self._watches[ENGINE].learning  # what a monitor is for first of all
            alarming = [name for name, w in self._watches.items() if w.alarming]
            means = {name: round(float(np.mean(values)), 6) if values else None
                     for name, values in (("agreement", self._agreed), ("kl", self._kl),
                                          ("confidence_shift", self._shift))}
            cpu, samples = self._cpu_seconds, self._samples
        state = "failed" if self._failed else "alarm" if alarming else "learning" if learning else "watching"
        return {"state": state, "why": self._failed, "alarming": alarming, "samples": samples,
                "dropped": self._dropped, **means, "cpu_seconds": round(cpu, 6),
                "compared_with": "calibration" if self.knows_calibration else "first samples",
                "ranges": self._kept.facts(), "learned": {"file": self._of_camera.file, "engine": self._of_engine.file},
                "quantities": watches}

    def stop(self) -> None:
        """Ask the worker to end after the sample in work, as `gone` will tell; it writes the histograms before."""
        self._stopping, self._waited_for_until = True, time.monotonic() + CLOSING_SECONDS
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        with suppress(queue.Full):
            self._queue.put_nowait("stop")

    @property
    def gone(self) -> bool:
        """Whether a worker that was stopped has ended, or hangs, so that nobody waits for it any longer."""
        return not self._thread.is_alive() or time.monotonic() >= self._waited_for_until

    def close(self) -> None:
        """Stop the worker and wait for its end. May be called twice."""
        self.stop()
        self._thread.join(CLOSING_SECONDS)

    def _work(self) -> None:
        with suppress(OSError, AttributeError):  # Linux has priorities a thread; elsewhere it has the loop's
            worker = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, worker, os.getpriority(os.PRIO_PROCESS, worker) + NICER)
        try:
            reference = Reference(self._model)
            self._kept.load_into(reference)
            self._go_on()
            try:
                self._take_samples(reference)
            finally:
                reference.close()
                self._kept.write(reference)
                self._keep(now=True)
        except Exception as error:  # whatever it is, the stream goes on; health tells
            self._failed = f"the drift monitor stopped: {error or 'out of memory'}"
            log.warning("%s", self._failed)

    def _take_samples(self, reference: Reference) -> None:
        while not self._stopping:
            sample = None
            with suppress(queue.Empty):
                sample = self._queue.get(timeout=LOOK_SECONDS)
            if isinstance(sample, Sample):
                self._take(reference, sample)
            now, self._export_asked = self._export_asked, False
            self._kept.write_in_time(reference, now)
            self._keep(now)

    def _keep(self, now: bool) -> None:
        world = {name: self._watches[name] for name in WORLD}
        self._of_camera.write_in_time(world, now)
        self._of_engine.write_in_time({ENGINE: self._watches[ENGINE]}, now)

    def _go_on(self) -> None:
        of = learned_of(self._model, self._engine_words(), self._camera)
        before = self._of_camera.read({name: of[name] for name in WORLD})
        before |= self._of_engine.read({ENGINE: of[ENGINE]})
        with self._lock:
            for name, past in before.items():
                self._watches[name].go_on_from(past)

    def _take(self, reference: Reference, sample: Sample) -> None:
        began = time.thread_time()
        answer, temperature = reference.run(sample.crop), self._model.card.temperature
        kl, shift, agrees = departure(answer.logits, sample.probabilities, temperature)
        values = {ENGINE: log_kl(kl), **look_at(sample.crop), **weigh(answer.logits, temperature),
                  "face_side": sample.side}
        if answer.beyond_range is not None:
            values["beyond_range"] = answer.beyond_range
        with self._lock:  # a sample is counted with what it changed and what it cost
            for name, value in values.items():
                self._watches[name].add(value)
            self._agreed.append(agrees)
            self._kl.append(kl)
            self._shift.append(shift)
            cost = time.thread_time() - began
            self._cost = max(cost, 0.9 * self._cost)  # a slow one counts for a while
            self._cpu_seconds += cost
            self._samples += 1
