"""Follow a stream's events files from the outside: first what they hold of the last day, then each new line.

Only reads, never waits and never holds more than a piece of a file in memory. A file that was rotated, purged or
replaced is noticed by its inode. Knows of an event only that it is one JSON object a line.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.sinks.event_files import rotated_files

PIECE = 1 << 18  # bytes read at once
LINE = 64 << 10  # a longer line is none of ours, and is left out
HISTORY = 128 << 20  # bytes read at the start: what a stream keeps by default, 8 files of 16 MiB


class EventTail:
    """The events of one path, each once, as they come; `broken` counts lines that were no event."""

    def __init__(self, path: Path):
        """Begin before the oldest event that is read; nothing is opened yet."""
        self._path, self.broken = path, 0
        self._handle, self._inode, self._rest = -1, (0, 0), b""

    def history(self) -> Iterator[dict[str, Any]]:
        """Yield what stands in the rotated files, oldest first; the newest HISTORY bytes of them."""
        room, chosen = HISTORY, []
        for file in reversed(rotated_files(self._path)):
            with suppress(OSError):
                room -= file.stat().st_size
                if room < 0:
                    break
                chosen.append(file)
        for file in reversed(chosen):
            with suppress(OSError), open(file, "rb") as lines:
                rest = b""
                while piece := lines.read(PIECE):
                    whole, rest = self._lines(rest + piece)
                    yield from whole

    def fresh(self) -> list[dict[str, Any]]:
        """Return the events of the next piece; an empty list where nothing new is there now. Never raises OSError."""
        with suppress(OSError):
            if self._handle < 0:
                self._open()
            if self._handle >= 0:
                piece = os.read(self._handle, PIECE)
                if not piece and self._moved():
                    piece = os.read(self._handle, PIECE)  # written between both looks
                    if not piece:
                        self.close()
                        return self.fresh()
                whole, self._rest = self._lines(self._rest + piece)
                return whole
        return []

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._rest = -1, b""

    def _open(self) -> None:
        handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            os.close(handle)
            return
        self._handle, self._inode = handle, (info.st_dev, info.st_ino)

    def _moved(self) -> bool:
        """Whether the path leads to another file now, or this one became shorter (a torn line was cut away)."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:  # purged: its bytes leave the disk when the last who holds it lets go
            return True
        if (now.st_dev, now.st_ino) != self._inode:
            return True
        if now.st_size < os.lseek(self._handle, 0, os.SEEK_CUR):
            os.lseek(self._handle, now.st_size, os.SEEK_SET)
            self._rest = b""
        return False

    def _lines(self, content: bytes) -> tuple[list[dict[str, Any]], bytes]:
        """Return the events of all whole lines, and what follows the last."""
        *lines, rest = content.split(b"\n")
        events = []
        for line in lines:
            event = _event(line) if len(line) <= LINE else None
            if event is not None:
                events.append(event)
            else:
                self.broken += 1
        return events, rest if len(rest) <= LINE else b"!"  # what follows of a long line is no event either


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None
