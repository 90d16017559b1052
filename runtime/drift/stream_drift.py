"""The monitor in a running stream: opened for the engine that reads now, told as events, health and a status.

Called by the loop, between frames. Knows nothing of how drift is found.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.drift.alarm import alarm_line, is_engines_fault
from runtime.durable import write_text
from runtime.errors import BadInput, MienError, RestartNeeded
from runtime.expressions import Expression
from runtime.pieces import Pieces
from runtime.reading import Reading
from runtime.sinks.sinks import Sinks
from runtime.stream_config import StreamConfig
from runtime.supervision.health import Health

if TYPE_CHECKING:  # imported where a monitor is asked for
    from runtime.drift.monitor import DriftMonitor

log = logging.getLogger(__name__)

TELL_SECONDS = 600.0  # between two events while nothing changes: the points of a report's chart
OFF: dict[str, Any] = {"state": "off"}
RESTARTED = "drift-restarted"  # in the state folder: the engine whose departure has ended a process


class StreamDrift:
    """Holds one monitor, and another once a reload opened another engine or changed its section."""

    def __init__(self, pieces: Pieces, state: Path | None):
        """Watch what `pieces["reading"]` is; histograms and what is learned are kept in the state folder, if any."""
        self._pieces, self._state = pieces, state
        self._monitor: DriftMonitor | None = None
        self._leaving: DriftMonitor | None = None  # writes the histograms that the next one goes on from
        self._of: tuple[object, ...] | None = None
        self._told, self._tell_at = "", time.monotonic() + TELL_SECONDS
        self._export_asked, self._told_stateless, self._broken = False, False, ""
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():  # elsewhere nobody may catch signals
            self._before = signal.signal(signal.SIGUSR1, self._ask_export)
        self._follow()

    def read(self, crops: np.ndarray, boxes: np.ndarray, answers: Sequence[Expression | None],
             tracks: Sequence[int], seconds: float) -> None:
        """Be the pipeline's `on_read`."""
        self._follow()
        if self._monitor:
            self._monitor.offer(crops, boxes, answers, tracks, seconds)

    def turn(self, sinks: Sinks, health: Health) -> None:
        """Tell what changed; called once a second. Raises RestartNeeded where the policy says so."""
        self._follow()
        if self._monitor is None:
            health.report("drift", self._broken)
            return
        if self._export_asked:
            self._export_asked = False
            self._monitor.export()
        status = self._monitor.status()
        reading: Reading = self._pieces["reading"]
        line = alarm_line(status, reading.model, reading.precision, reading.engine.target)
        now = time.monotonic()
        if line != self._told or (now >= self._tell_at and status["samples"]):
            self._told, self._tell_at = line, now + TELL_SECONDS
            sinks.event("drift", precision=reading.precision, alarm=line, **status)
        health.report("drift", line)
        engine = f"{reading.model.card.graphs[reading.graph].sha256} {reading.engine.target}"
        if (is_engines_fault(status) and self._pieces.config.drift.policy == "restart"
                and self._first_restart_of(engine)):
            raise RestartNeeded(f"{line}; this process ends, for its supervisor to start another, which proves its "
                                "engine first")

    def status(self) -> dict[str, Any]:
        """Return the monitor's status, and the line of an alarm that stands; a state alone where there is none."""
        if self._monitor is None:
            return {"state": "failed", "why": self._broken, "alarm": self._broken} if self._broken else OFF
        reading: Reading = self._pieces["reading"]
        status = self._monitor.status()
        return {**status, "alarm": alarm_line(status, reading.model, reading.precision,
                                                 reading.engine.target)}

    def close(self) -> None:
        """Stop the worker; the histograms are written."""
        if monitor := self._monitor or self._leaving:
            monitor.close()
        if self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)
            self._before = None

    def _first_restart_of(self, engine: str) -> bool:
        """Whether this engine's departure has not ended a process yet.

        What cannot be noted in a state folder ends none: the next process would not know, and end too, for ever.
        """
        if self._state is None:
            if not self._told_stateless:
                log.warning("expected a state folder (supervision.state) to note a restart in, found none; "
                            "none is made")
                self._told_stateless = True
            return False
        path = self._state / RESTARTED
        try:
            if path.exists() and path.read_bytes() == engine.encode():
                return False
            write_text(path, engine)
        except (OSError, BadInput) as error:
            log.warning("expected to note a restart in %s, found: %s; none is made", path, error)
            return False
        return True

    def _follow(self) -> None:
        """Watch the engine that is open now, as the configuration says now; frames do not wait for the one before."""
        reading, stream = self._pieces["reading"], self._pieces.config
        config, place = stream.drift, _place_of(stream)
        of = (reading, config, *place)
        if self._of == of:
            return
        if self._monitor:
            self._monitor.stop()
            self._leaving, self._monitor, self._of = self._monitor, None, None
        if self._leaving and not self._leaving.gone:
            return
        self._of, self._leaving, self._broken = of, None, ""
        if not config.enabled:
            return
        from runtime.drift.learned import camera_words
        from runtime.drift.monitor import DriftMonitor

        try:
            self._monitor = DriftMonitor(reading.model, reading.graph, reading.engine.target, config, self._state,
                                         reading.engine.compiled_sha256, camera_words(*place))
        except MienError as error:  # a damaged baseline costs the monitor, not the stream
            self._broken = f"the drift monitor is off: {error}"
            log.warning("%s", self._broken)

    def _ask_export(self, number: int, frame: FrameType | None) -> None:
        self._export_asked = True


def _place_of(stream: StreamConfig) -> tuple[object, ...]:
    """Return what decides how faces look and how large they are."""
    return (stream.source, stream.camera_width, stream.camera_height, stream.faces, stream.face_side,
            stream.face_threshold)
