"""What happened to each slot, a line a step, flushed to the disk before the next begins. Decides nothing.

Times are the boot's id and its monotonic clock: a board without a battery begins in 1970.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from runtime.durable import fsync_directory
from runtime.slots.spare_room import with_room

log = logging.getLogger(__name__)

# failed: a step before the switch did not pass, and the running slot was not touched
State = Literal["uploaded", "verified", "prepared", "canary", "current", "committed", "rolling-back", "rolled-back",
                "failed"]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Entry:
    """One line: which slot came into which state, why, in which boot, and at which second of it."""

    slot: str
    state: State
    version: str
    reason: str
    boot: str
    uptime: float


@dataclass(frozen=True)
class Journal:
    """A file of entries. The caller holds the lock of its folder."""

    path: Path

    def read(self) -> list[Entry]:
        """Return every whole entry; a line that a power cut tore, or a disk spoilt, is passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]  # what follows the last newline was torn
        except FileNotFoundError:
            return []
        found = [_entry_of(line) for line in lines]
        if None in found:
            log.warning("%d lines of %s could not be read and are passed over", found.count(None), self.path)
        return [entry for entry in found if entry]

    def append(self, slot: str, state: State, version: str, reason: str = "") -> Entry:
        """Add an entry that survives a power cut from then on."""
        entry = Entry(slot, state, version, " ".join(reason.split())[:500], boot_id(), round(time.monotonic(), 3))
        with_room(self.path.parent, lambda: self._write(entry))
        return entry

    def _write(self, entry: Entry) -> None:
        is_new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            torn = end and os.pread(handle, 1, end - 1) != b"\n"
            line = (b"\n" if torn else b"") + json.dumps(asdict(entry)).encode() + b"\n"
            if (written := os.write(handle, line)) < len(line):  # the rest would have met a full disk
                raise OSError(errno.ENOSPC, f"{written} of {len(line)} bytes were taken")
            os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            fsync_directory(self.path.parent)


def boot_id() -> str:
    """Return the kernel's random id of this boot, '' where there is none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _entry_of(line: bytes) -> Entry | None:
    try:
        values = json.loads(line)
        entry = Entry(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (entry.slot, entry.version, entry.reason, entry.boot)
    known = entry.state in get_args(State) and isinstance(entry.uptime, int | float)
    return entry if known and all(isinstance(text, str) for text in texts) else None
