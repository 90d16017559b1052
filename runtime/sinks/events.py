"""Events as JSON lines: what happened, numbered, with both clocks; to a file, and to whoever else listens.

Knows nothing of pictures: no pixel, crop or embedding is ever written. A full disk loses events, never the stream:
lines wait in a bounded memory until the disk takes writes again, and what did not fit is counted and told.
"""

from __future__ import annotations

import errno
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runtime.camera.source import Frame
from runtime.errors import BadInput, Unavailable
from runtime.expressions import Expression
from runtime.faces.detector import Faces
from runtime.sinks.event_files import IN_USE_SECONDS, EventFile, EventFiles, next_sequence

log = logging.getLogger(__name__)

WAITING_LINES = 1024  # of memory while the disk takes nothing: about 2 MB, 40 s of a face in every frame
RETRY_SECONDS = 1.0  # between attempts on a disk that refused
# What a disk says that may take writes later; any other refusal is a wrong path, which a person must correct
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class EventLog:
    """Numbered events, appended to one file; `seq` goes on from the last line already there.

    An event is acknowledged when `write` returned True. It then survives the death of this process; under `fsync:
    always` a power cut too, under `interval` a power cut later than that interval, under `never` one later than the
    kernel's own flush (about 30 s). (run, seq) names an event for ever: a power cut may take lines, and their `seq`,
    back.
    """

    def __init__(self, path: Path | None, policy: EventFiles | None = None, waiting: int = WAITING_LINES):
        """Open the file, if any; a disk that is full may be so for now.

        Raises BadInput where the path is wrong, Unavailable where another process keeps the file.
        """
        self._path, self._policy, self._most = path, policy or EventFiles(), waiting
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._file: EventFile | None = None
        self._lock = threading.RLock()  # the signal thread writes the last event of a stream that hangs
        self.lost = self.repaired = self.written = self._told_lost = self._unsynced_before = 0
        self._failing = ""  # what the disk says while it takes nothing
        self._retry_at = 0.0
        self._closed = False
        self._sequence = 0
        self._boot, self._run = boot_id(), secrets.token_hex(8)
        self.listeners: list[Callable[[str, bytes], object]] = []  # called with each event's name and line
        if path:
            self._open_first(path)

    def write(self, event: str, fields: Mapping[str, Any]) -> bool:
        """Number one event and append it. False where it waits for the disk, or was `lost`."""
        with self._lock:
            if self._closed:  # by the signal's thread, under a stream that hung
                self.lost += 1
                return False
            line = {"seq": self._sequence, "event": event, "boot": self._boot, "run": self._run, "time": now_utc(),
                    "monotonic": round(time.monotonic(), 6), **fields}
            content = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            sequence, self._sequence = self._sequence, self._sequence + 1
            for listen in self.listeners:
                listen(event, content)
            if self._path is None:
                return True
            self._waiting.append((sequence, content))
            if len(self._waiting) > self._most:  # the oldest goes: a gap in `seq` shows it
                self._waiting.popleft()
                self.lost += 1
            return self._drain()

    def write_faces(
        self, frame: Frame, faces: Faces, expressions: Sequence[Expression | None], labels: Sequence[str],
        tracks: Sequence[int] = (), steady: Sequence[Expression | None] = ()
    ) -> bool:
        """Append one frame's readings, if it has any; a face whose expression is None is left out.

        labels name an expression's probabilities; tracks and steady (the label smoothed over time) are one a face.
        """
        over_time = [{"track": track, "steady": smooth.label if smooth else None}
                     for track, smooth in zip(tracks, steady)] or [{}] * len(faces)
        read = [
            {**known, "box": [round(float(v), 1) for v in box], "score": round(float(score), 4),
             "label": expression.label, "probability": round(expression.probability, 4),
             "probabilities": {k: round(float(p), 4) for k, p in zip(labels, expression.probabilities)}}
            for box, score, expression, known in zip(faces.boxes, faces.scores, expressions, over_time)
            if expression is not None
        ]
        if not read:
            return True
        return self.write("faces", {"frame": frame.index, "seconds": round(frame.seconds, 3), "faces": read})

    def turn(self) -> None:
        """Bring what waits to a disk that takes writes again, though no event comes; leave a file that was removed."""
        with self._lock:
            if self._closed:
                return
            if gone := self._file is not None and self._file.is_elsewhere:
                log.warning("expected %s where it was opened, found it removed or moved; another is begun", self._path)
                self._close_file()
            if gone or self._waiting or self._failing:
                self._drain()

    @property
    def trouble(self) -> str:
        """What the disk says while it takes no line, or does not flush; '' while all is well."""
        return self._failing or (self._file.trouble if self._file else "")

    @property
    def unsynced(self) -> int:
        """Events that are in the file, while the disk failed to flush them: a power cut may take them."""
        return self._unsynced_before + (self._file.unsynced if self._file else 0)

    def close(self) -> None:
        """Try once more what waits, flush to the disk and close; what still waits is lost. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed, self._retry_at = True, 0.0
            self._drain()
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._close_file()

    def _close_file(self) -> None:
        if self._file:
            self._file.close()
            self._unsynced_before += self._file.unsynced
            self._file = None

    def _open_first(self, path: Path) -> None:
        try:
            self._open_file(path, IN_USE_SECONDS)
        except OSError as error:
            if error.errno not in PASSING:
                raise BadInput(f"expected a file to append events to, found {path}: {error.strerror}; "
                               "choose another place") from error
            with suppress(OSError):
                self._sequence = next_sequence(path)
            self._refused(error)

    def _open_file(self, path: Path, patience: float = 0.0) -> None:
        self._file = EventFile(path, self._policy, patience)
        self.repaired += self._file.repaired
        if self._file.next_sequence > self._sequence:  # it could not be read before: what waits is numbered too low
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._sequence = self._file.next_sequence

    def _drain(self) -> bool:
        """Write what waits, oldest first; False where something still does."""
        if self._failing and time.monotonic() < self._retry_at:
            return False
        try:
            if self._file is None and self._path is not None:
                self._open_file(self._path)
            while self._file and self._waiting:
                sequence, content = self._waiting[0]
                self._file.append(content, sequence)
                self._waiting.popleft()
                self.written += 1
        except (OSError, BadInput, Unavailable) as error:  # another file, or process, has its place since
            self._refused(error)
            return False
        self._failing = ""
        if self.lost > self._told_lost and not self._closed:
            lost, self._told_lost = self.lost - self._told_lost, self.lost
            self.write("lost", {"events": lost, "lost_events": self.lost})
        return True

    def _refused(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error)
        if not self._failing:
            log.warning("expected to write events to %s, found: %s; the stream goes on, %d events wait in memory, "
                        "older ones are counted as lost", self._path, why, self._most)
        self._failing, self._retry_at = why, time.monotonic() + RETRY_SECONDS


def now_utc() -> str:
    """Return the wall time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def boot_id() -> str:
    """Return the kernel's id of this boot; with `monotonic` it orders events whatever the clock does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
