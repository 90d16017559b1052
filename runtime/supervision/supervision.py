"""What a turn of the stream's loop owes to those who watch it: systemd, Prometheus, the health, the memory alarm.

Called between frames, in the loop's own thread: no turn, no sign of life. Knows nothing of how each is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.camera.source import FrameSource
from runtime.drift.stream_drift import StreamDrift
from runtime.errors import RestartNeeded
from runtime.pieces import Pieces
from runtime.pipeline import Tally
from runtime.sinks.sinks import Sinks
from runtime.stream_config import SupervisionConfig
from runtime.supervision.health import CAMERA, Change, Health
from runtime.supervision.memory_slope import MemorySlope, resident_memory
from runtime.supervision.power import thermal_alerts
from runtime.supervision.systemd import Notifier

EVERY_SECONDS = 1.0
CAMERA_SECONDS = 3.0  # a live source without a frame for so long is down; its own recovery begins at two
HEAT_SECONDS = 10.0  # between two looks at the board's thermal alerts, some twenty small files
SETTLED_SECONDS = 60.0  # an engine that worked for so long is forgiven what failed before


def state_folder(config: SupervisionConfig, environment: Mapping[str, str]) -> Path | None:
    """Return where the service's state lies: the configuration's, else the first of systemd's STATE_DIRECTORY."""
    if config.state:
        return config.state
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


class Supervision:
    """Watches one running stream; `turn` is called between frames."""

    def __init__(self, pieces: Pieces, sinks: Sinks, health: Health, notifier: Notifier, tally: Callable[[], Tally],
                 drift: StreamDrift):
        """Watch open pieces; `tally` gives the pipeline's counts so far, and its times of late."""
        self._pieces, self._sinks, self._health, self._notifier, self._tally = pieces, sinks, health, notifier, tally
        self._drift = drift
        supervision = pieces.config.supervision
        self._memory = MemorySlope(supervision.memory_slope, supervision.memory_window)
        self._began = self._seen = time.monotonic()
        self._frames = 0
        self._due = self._heat_due = 0.0
        health.tell = self._tell

    def begin(self) -> None:
        """Say that everything is open and the golden faces passed."""
        self._health.report("engine", self._pieces["reading"].fallback)
        self._sinks.report()
        self._health.started()
        self._notifier.ready(f"{self._health.state}: {self._pieces['source'].name}")

    def turn(self) -> None:
        """Say that the loop went round, and once a second all the rest.

        Raises RestartNeeded where memory leaks, or the engine drifts and the policy says so.
        """
        self._notifier.progress()
        now = time.monotonic()
        if metrics := self._pieces["metrics"]:
            metrics.turned()
        if leak := self._memory.sample():
            self._health.report("memory", leak)
            raise RestartNeeded(f"expected memory to stay level, found that {leak}; this process ends, for its "
                                "supervisor to start another")
        if now < self._due:
            return
        self._due = now + EVERY_SECONDS
        self._watch_camera(now)
        self._watch_heat(now)
        self._sinks.report()
        if now - self._began > SETTLED_SECONDS:
            self._pieces["reading"].failures.settled()
        self.show()
        self._drift.turn(self._sinks, self._health)

    def show(self) -> None:
        """Give Prometheus, the dashboard and systemd the counts as they are."""
        tally = self._tally()
        self._notifier.status(f"{self._health.state}: {tally.frames} frames, {tally.faces} faces")
        metrics, dashboard, reading = (self._pieces[name] for name in ("metrics", "dashboard", "reading"))
        if metrics is None and dashboard is None:
            return
        from runtime.sinks.metrics import Snapshot  # its server and gauges are for those who ask for one

        source: FrameSource = self._pieces["source"]
        camera = {f"camera_{name}": count for name, count in source.counts().items()}
        snapshot = Snapshot(tally, {**self._sinks.counts(), **camera}, resident_memory(),
                            time.monotonic() - self._began, reading.facts(), self._drift.status())
        if metrics:
            metrics.show(snapshot)
        if dashboard:
            dashboard.show(snapshot, source.name, reading.reader.labels)

    def end(self) -> None:
        """Say that the end began."""
        self._health.stopping()
        self._notifier.stopping()

    def _watch_camera(self, now: float) -> None:
        source: FrameSource = self._pieces["source"]
        for happening in source.happenings():
            self._sinks.event("camera", kind=happening.kind, facts=dict(happening.facts))
        frames = self._tally().frames
        if frames != self._frames:
            self._frames, self._seen = frames, now
        missing = source.live and now - self._seen > CAMERA_SECONDS
        why = f": {source.why}" if source.why else ""
        self._health.report(CAMERA, f"no usable frame for {CAMERA_SECONDS:g} s{why}" if missing else "")

    def _watch_heat(self, now: float) -> None:
        if now >= self._heat_due:
            self._heat_due = now + HEAT_SECONDS
            raised = ", ".join(thermal_alerts())
            self._health.report("heat", f"the board raises {raised}: it may be slowed" if raised else "")

    def _tell(self, change: Change) -> Any:
        self._sinks.event("health", before=change.before, state=change.state, troubles=change.troubles)
