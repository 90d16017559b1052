"""What every viewer is shown: the stream's status, the shares and the last events, made once for all of them.

Holds one newest message of each kind, so a viewer that reads slowly skips some and costs no memory. Knows no HTTP.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from runtime.dashboard.channel import SCHEMA, STATUS, STATUS_BYTES, take
from runtime.dashboard.event_tail import EventTail
from runtime.dashboard.shares import Shares
from runtime.sinks.events import boot_id

TICK_SECONDS = 0.5
SHARES_EVERY = 4  # ticks; a bin of the shortest window is a second wide
STALE_SECONDS = 5.0  # a stream that turns writes every second
CATCH_UP_SECONDS = 0.1  # of a tick, at most, for events that came in a burst
EVENTS, TEXT = 30, 240  # last events that are shown; characters of each
CLOCKS = ("seq", "event", "boot", "run", "time", "monotonic")


class Board:
    """The newest message of each kind; `tick` twice a second, after `load` once."""

    def __init__(self, folder: Path, events: Path | None):
        """Watch a stream's folder, and its events file where it keeps one."""
        self._status_file = folder / STATUS
        self._tail = EventTail(events) if events else None
        self._shares, self._last = Shares(), deque[dict[str, Any]](maxlen=EVENTS)
        self._boot, self._loaded = boot_id(), events is None
        self._counted: dict[str, int] = {}
        self._ticks, self._stopped = 0, False
        self.messages: dict[str, tuple[int, bytes]] = {}  # kind → version, JSON
        self._say("events", [])

    def load(self) -> None:
        """Read what the events files hold of the last day; seconds for a hundred MiB, so in a thread of its own."""
        if self._tail:
            for event in self._tail.history():
                self._take(event)
                if self._stopped:
                    return
            while not self._stopped and (fresh := self._tail.fresh()):
                for event in fresh:
                    self._take(event)
        self._loaded = True

    def stop(self) -> None:
        """Have a load in another thread end soon."""
        self._stopped = True

    def tick(self) -> None:
        """Read what is new, and renew the messages."""
        now = time.monotonic()
        status = self._status(now)
        if self._loaded:
            before = self._last[-1] if self._last else None
            if self._tail:
                self._catch_up(self._tail, now)
            else:
                self._count(status, now)
            if self._ticks % SHARES_EVERY == 0:
                self._say("shares", {"of": "faces in frames" if self._tail else "answers",
                                     "windows": self._shares.report(now)})
            if (self._last[-1] if self._last else None) is not before or self._ticks == 0:
                self._say("events", list(reversed(self._last)))
            self._ticks += 1
        self._say("state", {**status, "history": self._loaded})

    def _say(self, kind: str, values: Any) -> None:
        version, _ = self.messages.get(kind, (0, b""))
        content = json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
        self.messages[kind] = (version + 1, content)

    def _status(self, now: float) -> dict[str, Any]:
        """Return the stream's own words, and how old they are; none where nobody writes."""
        content = take(self._status_file, STATUS_BYTES)
        status = parse_status(content) if content else None
        if status is None:
            return {"alive": False, "age_seconds": None}
        age = now - status["monotonic"] if status["boot"] == self._boot else float("inf")
        alive = -1 < age < STALE_SECONDS
        return {**status, "alive": alive, "age_seconds": round(age, 1) if age < 1e9 else None}

    def _catch_up(self, tail: EventTail, now: float) -> None:
        while fresh := tail.fresh():
            for event in fresh:
                self._take(event)
            if time.monotonic() - now > CATCH_UP_SECONDS:
                return

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["event"] != "faces":
            self._last.append(_in_words(event))
            return
        when, faces = self._when(event), event.get("faces")
        if when is None or not isinstance(faces, list):
            return
        for face in faces:
            label = (face.get("steady") or face.get("label")) if isinstance(face, dict) else None
            if isinstance(label, str) and len(label) <= 40:
                self._shares.add(label, when)

    def _when(self, event: Mapping[str, Any]) -> float | None:
        """Return an event's time on this boot's clock; the wall clock serves for events of earlier boots only."""
        now = time.monotonic()
        if event.get("boot") == self._boot:
            seconds = event.get("monotonic")
            return min(float(seconds), now) if isinstance(seconds, int | float) else None
        age = time.time() - _wall_seconds(event.get("time"))
        return now - age if age >= 0 else None

    def _count(self, status: Mapping[str, Any], now: float) -> None:
        """Without an events file: what the stream counted since the last look."""
        seen = status.get("expressions")
        if not isinstance(seen, dict) or not status["alive"]:
            return
        for label, count in seen.items():
            if type(count) is int:
                before = self._counted.get(label)
                self._counted[label] = count
                if before is not None and count > before:
                    self._shares.add(label, now, count - before)


def parse_status(content: bytes) -> dict[str, Any] | None:
    """Return a status as the stream wrote it; None where it is none of this version."""
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        status = json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(status, dict) or status.get("schema") != SCHEMA:
        return None
    known = type(status.get("monotonic")) in (int, float) and isinstance(status.get("boot"), str)
    return status if known else None


def _wall_seconds(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return float("inf")


def _in_words(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event for people: its number, time, name, and the rest as words."""
    rest = "; ".join(f"{name.replace('_', ' ')}: {_word(value)}" for name, value in event.items() if name not in CLOCKS)
    return {"seq": event.get("seq") if type(event.get("seq")) is int else None, "time": str(event.get("time"))[:32],
            "event": event["event"][:40], "text": rest[: TEXT - 1] + "…" if len(rest) > TEXT else rest}


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_word(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_word(v) for v in value) or "none"
    return str(value)
