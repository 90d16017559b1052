"""What happened to a camera, kept until somebody asks: bounded, and no kind floods the rest.

Knows nothing of what a kind means.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from runtime.camera.source import CameraEvent

MOST = 256  # events kept; the oldest go first
APART = {"damaged": 60.0, "size-changed": 10.0}  # seconds between two of a kind that may come with every frame


class Happenings:
    """A bounded queue of events; `lost` counts those that nobody fetched in time."""

    def __init__(self) -> None:
        """Start with none."""
        self.lost = 0
        self._events = deque[CameraEvent]()
        self._last: dict[str, float] = {}

    def add(self, kind: str, facts: Mapping[str, str | int | float]) -> None:
        """Keep an event, unless its kind has just had one."""
        now = time.monotonic()
        if kind in APART:
            if now - self._last.get(kind, float("-inf")) < APART[kind]:
                return
            self._last[kind] = now
        if len(self._events) == MOST:
            self._events.popleft()
            self.lost += 1
        self._events.append(CameraEvent(kind, dict(facts), now))

    def take(self) -> list[CameraEvent]:
        """Return all, oldest first, and keep none."""
        events = list(self._events)
        self._events.clear()
        return events
