"""Events as JSON lines: a `start`, one `faces` a frame with faces, an `end`; appended, each line whole or absent.

Knows nothing of pictures: no pixel, crop or embedding is ever written. A full disk loses events, never the stream.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runtime.camera.source import Frame
from runtime.errors import BadInput
from runtime.expressions import Expression
from runtime.faces.detector import Faces

log = logging.getLogger(__name__)

FIRST_BYTES = b'{"seq":'  # how every line begins; a file that begins otherwise is not ours to cut
TAIL_BYTES = 1 << 20  # searched for the last whole line; a line of 8 faces takes 2 KB


class EventLog:
    """An append-only file of events whose `seq` goes on from the last line already there."""

    def __init__(self, path: Path):
        """Open or create the file and cut a torn last line away (counted in `repaired`). Raises BadInput."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BadInput(f"expected a file to append events to, found {path}: {error.strerror}; "
                           "choose another place") from error
        self._path, self.lost, self.repaired, self.written = path, 0, 0, 0
        self._regular = stat.S_ISREG(os.fstat(self._handle).st_mode)
        self._sequence, self._end, self._torn = 0, 0, False
        try:
            if self._regular:
                self._take()
                self._sequence = self._repair()
        except BaseException:
            os.close(self._handle)
            raise
        self._boot = boot_id()

    def write(self, event: str, fields: Mapping[str, Any]) -> bool:
        """Append one event; False, and counted in `lost`, where the disk did not take all of it."""
        line = {"seq": self._sequence, "event": event, "boot": self._boot, "time": now_utc(),
                "monotonic": round(time.monotonic(), 6), **fields}
        content = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._sequence += 1  # a lost event leaves a gap that a reader can see
        try:
            self._cut_torn_line()
            if os.write(self._handle, content) != len(content):
                self._torn = True
                raise OSError("short write")
        except OSError as error:
            if not self.lost:
                log.warning("expected to write events to %s, found: %s; the stream goes on, lost events are counted",
                            self._path, error.strerror or error)
            self.lost += 1
            return False
        self._end += len(content)
        self.written += 1
        return True

    def write_faces(
        self, frame: Frame, faces: Faces, expressions: Sequence[Expression | None], labels: Sequence[str]
    ) -> bool:
        """Append one frame's readings, if it has any; a face whose expression is None is left out."""
        read = [
            {"box": [round(float(v), 1) for v in box], "score": round(float(score), 4), "label": expression.label,
             "probability": round(expression.probability, 4),
             "probabilities": {k: round(float(p), 4) for k, p in zip(labels, expression.probabilities)}}
            for box, score, expression in zip(faces.boxes, faces.scores, expressions) if expression is not None
        ]
        if not read:
            return True
        return self.write("faces", {"frame": frame.index, "seconds": round(frame.seconds, 3), "faces": read})

    def close(self) -> None:
        """Flush to the disk and close."""
        try:
            self._cut_torn_line()
            os.fsync(self._handle)
        except OSError:  # a full disk was counted already; a device such as /dev/null has nothing to flush
            pass
        finally:
            os.close(self._handle)

    def _take(self) -> None:
        """Let no second stream append here: its repair would cut our line in work."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"expected {self._path} for this stream alone, found it in use by another; "
                           "choose another events file") from error

    def _repair(self) -> int:
        """Cut back to the last line that is a whole event, and return the `seq` to go on with."""
        size = os.fstat(self._handle).st_size
        begin = os.pread(self._handle, len(FIRST_BYTES), 0)
        # zeros are what some file systems leave of a file after a power cut
        if not FIRST_BYTES.startswith(begin) and begin.strip(b"\0"):
            raise BadInput(f"expected an events file or none at {self._path}, found another kind of file; "
                           "choose another name")
        offset = max(0, size - TAIL_BYTES)
        tail = os.pread(self._handle, TAIL_BYTES, offset)
        end, sequence = len(tail), 0
        while end:
            start = tail.rfind(b"\n", 0, end - 1) + 1
            found = _sequence_in(tail[start:end])
            if found is not None:
                sequence = found + 1
                break
            end = start
        self._end = offset + end
        if self._end < size:
            os.ftruncate(self._handle, self._end)
            self.repaired += 1
            log.warning("%s: the last line was torn; %d bytes were cut away", self._path, size - self._end)
        os.lseek(self._handle, 0, os.SEEK_END)
        return sequence

    def _cut_torn_line(self) -> None:
        if self._torn and self._regular:
            os.ftruncate(self._handle, self._end)
            os.lseek(self._handle, self._end, os.SEEK_SET)
            self._torn = False


def _sequence_in(line: bytes) -> int | None:
    """Return the `seq` of a whole line, None where it is torn."""
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    sequence = value.get("seq") if isinstance(value, dict) else None
    return sequence if type(sequence) is int else None


def now_utc() -> str:
    """Return the wall time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def boot_id() -> str:
    """Return the kernel's id of this boot; with `monotonic` it orders events whatever the clock does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
