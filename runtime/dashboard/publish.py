"""What a stream leaves for its page, twice a second: a status of at most 16 KB, and a preview where asked for.

No box, no picture and no identity are in the status: labels, probabilities and running track numbers. Whatever fails
here is counted and told to the health, and costs the stream nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import cv2

from runtime.dashboard.channel import PREVIEW, SCHEMA, STATUS, STATUS_BYTES, channel_folder, open_channel, put
from runtime.dashboard.preview import render_preview
from runtime.dashboard.settings import DashboardConfig
from runtime.pipeline import Scene
from runtime.sinks.events import boot_id, now_utc
from runtime.sinks.metrics import Snapshot
from runtime.supervision.health import Health

EVERY_SECONDS = 0.5
FACES = 8  # shown; a crowd's others are counted
TROUBLES, TEXT = 16, 200  # how many are told, and characters of each
RATE_POINTS = 10  # over which frames/s are taken: the last five seconds
FORGET_SECONDS = 3.0  # without a frame nobody is there any more


class Publisher:
    """The stream's end of the channel. `saw` is called with every frame, `show` once a second."""

    def __init__(self, config: DashboardConfig, health: Health, environment: Mapping[str, str] = os.environ):
        """Open the folder and forget what an earlier stream left. Raises BadInput where others may write there."""
        self._config, self._health = config, health
        self._folder = open_channel(channel_folder(config.folder, environment))
        self._boot = boot_id()
        self.failed = 0  # files that could not be written
        self._failing: dict[str, str] = {}  # by file
        self._faces: list[dict[str, Any]] = []
        self._seen = self._frames = 0
        self._rates: deque[tuple[float, int]] = deque(maxlen=RATE_POINTS)
        self._facts: dict[str, Any] = {}
        self._due = self._seen_at = self._written = 0.0
        self._remove()

    def saw(self, scene: Scene) -> None:
        """Remember what was read in a frame; twice a second, write."""
        self._frames += 1
        now = time.monotonic()
        if now < self._due:
            return
        self._due, self._seen_at = now + EVERY_SECONDS, now
        steady = scene.steady or scene.expressions
        tracks = scene.tracks or range(len(steady))
        self._seen = len(scene.faces)
        self._faces = [{"track": int(track), "label": each.label, "probability": round(float(each.probability), 3),
                        "probabilities": [round(float(p), 3) for p in each.probabilities]}
                       for track, each in zip(tracks, steady) if each is not None][:FACES]
        if self._config.preview:
            self._put(PREVIEW, lambda: render_preview(scene.frame.image, scene.faces.boxes,
                                                      self._config.preview_faces))
        self._write(now)

    def show(self, snapshot: Snapshot, source: str, labels: Sequence[str]) -> None:
        """Take the stream's counts, and write where no frame came since."""
        tally = vars(snapshot.tally)
        self._facts = {
            "source": source[:TEXT], "labels": list(labels), "engine": dict(snapshot.engine),
            "drift": dict(snapshot.drift),
            "uptime_seconds": round(snapshot.uptime_seconds, 1), "memory_bytes": snapshot.memory_bytes,
            "tally": {k: v for k, v in tally.items() if type(v) is int}, "expressions": tally["expressions"],
            "stages": tally["stage_milliseconds"], "age": tally["age_milliseconds"], "counts": dict(snapshot.counts)}
        now = time.monotonic()
        if now - self._written >= 2 * EVERY_SECONDS:  # no frame came; one that comes now is written all the same
            if now - self._seen_at > FORGET_SECONDS:
                self._faces, self._seen = [], 0
            self._write(now)

    def close(self) -> None:
        """Leave nothing behind: no status that looks alive, no picture."""
        if self._folder >= 0:
            self._remove()
            os.close(self._folder)
            self._folder = -1

    def _write(self, now: float) -> None:
        self._written = now
        self._rates.append((now, self._frames))
        (first, before), (last, after) = self._rates[0], self._rates[-1]
        rate = (after - before) / (last - first) if last > first else 0.0
        troubles = {k[:TEXT]: v[:TEXT] for k, v in list(self._health.troubles.items())[:TROUBLES]}
        status = {"schema": SCHEMA, "boot": self._boot, "monotonic": round(now, 3), "time": now_utc(),
                  "health": {"state": self._health.state, "troubles": troubles},
                  "frames_per_second": round(rate, 2), "faces": self._faces, "faces_seen": self._seen,
                  "preview": self._config.preview, "preview_faces": self._config.preview_faces, **self._facts}
        self._put(STATUS, lambda: _bounded(json.dumps(status, separators=(",", ":"), allow_nan=False).encode()))

    def _put(self, name: str, make: Callable[[], bytes]) -> None:
        try:
            put(self._folder, name, make())
        except (OSError, ValueError, TypeError, cv2.error) as error:
            self.failed += 1
            self._failing[name] = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        else:
            self._failing.pop(name, None)
        self._health.report("dashboard", "; ".join(self._failing.values()))

    def _remove(self) -> None:
        for name in (STATUS, PREVIEW):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)


def _bounded(content: bytes) -> bytes:
    if len(content) > STATUS_BYTES:
        raise ValueError(f"expected a status of at most {STATUS_BYTES} bytes, found {len(content)}")
    return content
