"""The files that lines of events lie in: appended to, flushed by a policy, rotated, each line whole or absent.

Knows of a line only that it is JSON and begins with its number, `seq`; what an event says is `events.py`'s.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from runtime.durable import fsync_directory
from runtime.errors import BadInput, Unavailable
from runtime.privacy import is_clock_set
from runtime.sinks.event_sync import TimedSync

log = logging.getLogger(__name__)

FIRST_BYTES = b'{"seq":'  # how every line begins; a file that neither begins nor ends so is not ours to cut
TAIL_BYTES = 1 << 20  # searched for the last whole line; a line of 8 faces takes 2 KB
LINE_BYTES = 1 << 16  # more than any line takes
SUFFIX_DIGITS = 12  # of a rotated file's name: events.jsonl.000000004711 begins with event 4711
MEBIBYTE = 1 << 20
ROTATION_AGAIN = 60.0  # s after a rotation that failed
IN_USE_SECONDS = 2.0  # `mien purge` holds a file for the milliseconds of deleting it; another stream for months
CLOCKS = re.compile(rb'"boot":"([^"]{1,64})".{0,200}?"monotonic":([0-9]{1,12}(?:\.[0-9]{1,9})?)')


@dataclass(frozen=True)
class EventFiles:
    """How event files are kept: the `event_files` section of stream.yaml. 0 never rotates by that measure."""

    rotate_mb: float = 16.0
    rotate_hours: float = 24.0
    keep: int = 7
    fsync: Literal["always", "interval", "never"] = "interval"
    fsync_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name, least, most in (("rotate_mb", 0, 1024), ("rotate_hours", 0, 8760), ("keep", 0, 1000),
                                  ("fsync_seconds", 0.1, 3600)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least:g}–{most:g}, found {getattr(self, name)}")


class EventFile:
    """The file that is open for lines; `repaired` counts torn tails that were cut away."""

    def __init__(self, path: Path, policy: EventFiles, patience: float = 0.0):
        """Open or create the file and cut a torn last line away; patience: s to wait for one that is in use.

        Raises BadInput where it is another kind of file, Unavailable where it stays in use, OSError where the disk does
        not open it.
        """
        self._path, self._policy, self.repaired = path, policy, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = _opened(path, patience)
        try:
            self._regular = stat.S_ISREG(os.fstat(self._handle).st_mode)
            self._torn, self._end = False, 0
            self._sync = TimedSync(policy.fsync_seconds)
            self._no_rotation_before = 0.0
            self.next_sequence = 0
            if self._regular:
                self.next_sequence = self._repair()
            self._started = time.monotonic() - self._age()
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, line: bytes, sequence: int) -> None:
        """Append one whole line, rotating first where it is time. Raises OSError; the file then holds no part of it."""
        self._cut_torn_line()
        if self._regular and self._end and self._is_full(len(line)):
            self._rotate()
        try:
            written = os.write(self._handle, line)
            while written < len(line):  # a disk that fills takes a part, and says why when asked for the rest
                written += os.write(self._handle, line[written:])
            if self._regular and self._policy.fsync == "always":
                os.fsync(self._handle)
        except OSError:  # what is not on the disk is not acknowledged: the line goes, and comes again
            self._torn = True
            with suppress(OSError):  # tried again before the next line
                self._cut_torn_line()
            raise
        self._end += len(line)
        self.next_sequence = sequence + 1
        if self._regular and self._policy.fsync == "interval":
            self._sync.wrote(self._handle)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the path leads to another file by now, or to none: somebody removed or moved the open one."""
        return _is_elsewhere(self._path, self._handle)

    @property
    def trouble(self) -> str:
        """What the disk said of the last flush beside the frames; '' where it worked."""
        return self._sync.trouble

    @property
    def unsynced(self) -> int:
        """Lines in the file that a flush failed to bring to the disk: a power cut may take them."""
        return self._sync.failed

    def close(self) -> None:
        """Flush to the disk and close; lines that are not flushed then count as `unsynced`."""
        waiting = self._sync.close()
        try:
            self._cut_torn_line()
            os.fsync(self._handle)
        except OSError as error:
            if self._regular:  # a device such as /dev/null has nothing to flush
                self._sync.failed += waiting
                log.warning("expected the disk to keep %s, found: %s; its last events may not outlive a power cut",
                            self._path, error.strerror)
        finally:
            os.close(self._handle)

    def _is_full(self, more: int) -> bool:
        policy = self._policy
        if time.monotonic() < self._no_rotation_before:
            return False
        return bool((policy.rotate_mb and self._end + more > policy.rotate_mb * MEBIBYTE)
                    or (policy.rotate_hours and time.monotonic() - self._started > policy.rotate_hours * 3600))

    def _rotate(self) -> None:
        """Give the file a name of its own and begin another; without room for one, go on in the old."""
        first = _sequence_in(_first_event(self._handle))
        if first is None:  # more than a MiB at its beginning is damaged: its last number is no other file's first
            first = max(0, self.next_sequence - 1)
        aside = self._path.with_name(f"{self._path.name}.{first:0{SUFFIX_DIGITS}}")
        try:
            os.fsync(self._handle)
            os.rename(self._path, aside)
        except OSError as error:  # somebody took the file away, or the folder takes no new name
            self._no_rotation_before = time.monotonic() + ROTATION_AGAIN
            if not self._path.exists():
                self._begin_anew()
            log.warning("expected to rotate %s, found: %s; %s", self._path, error.strerror,
                        "another was begun" if not self._end else "the old one goes on")
            return
        try:
            handle = _opened(self._path)
        except BaseException as error:  # no inode or descriptor is left: lines before order
            os.rename(aside, self._path)
            self._started = time.monotonic()  # the next attempt waits for the next age, or a restart
            if not isinstance(error, OSError):
                raise
            log.warning("expected to begin a new events file beside %s, found: %s; the old one goes on", self._path,
                        error.strerror)
            return
        self._sync.done()  # before it was renamed
        os.close(self._handle)
        self._handle, self._end, self._started = handle, 0, time.monotonic()
        fsync_directory(self._path.parent)
        if self._policy.keep:
            for old in rotated_files(self._path)[: -self._policy.keep]:
                old.unlink(missing_ok=True)

    def _begin_anew(self) -> None:
        """Open a file where the old one was taken away. Raises OSError."""
        handle = _opened(self._path)
        self._sync.done()  # what was taken away needs no disk
        os.close(self._handle)
        self._handle, self._end = handle, 0

    def _repair(self) -> int:
        """Cut back to the last line that is a whole event, and return the `seq` to go on with."""
        size = os.fstat(self._handle).st_size
        self._end, found = _last_event(self._handle, size)
        begin = os.pread(self._handle, len(FIRST_BYTES), 0)
        if not FIRST_BYTES.startswith(begin):  # a power cut takes the first block of a file too
            if _ends_in_an_event(self._handle, size):
                log.warning("%s: its beginning is damaged, and stays; its last line is an event", self._path)
            elif not begin.strip(b"\0") and _is_lost(self._handle, size):
                self._end = 0
            else:
                raise BadInput(f"expected an events file or none at {self._path}, found another kind of file; "
                               "choose another name")
        if self._end < size:
            os.ftruncate(self._handle, self._end)
            self.repaired += 1
            log.warning("%s: the last line was torn; %d bytes were cut away", self._path, size - self._end)
        return found + 1 if found is not None else _after_the_rotated(self._path)

    def _age(self) -> float:
        """Return how old the first event is, s, by the wall clock; one that jumped costs at most one rotation.

        A clock that begins anew with each boot knows no age: for how long boots wrote to the file stands for it.
        """
        if not self._regular or not self._end:
            return 0.0
        if not is_clock_set():
            return _seconds_written(self._handle)
        try:
            written = datetime.fromisoformat(str(json.loads(_first_event(self._handle))["time"]).replace("Z", "+00:00"))
            return max(0.0, (datetime.now(timezone.utc) - written).total_seconds())
        except (ValueError, KeyError, TypeError):
            return 0.0

    def _cut_torn_line(self) -> None:
        if self._torn and self._regular:
            os.ftruncate(self._handle, self._end)
            self._torn = False


def rotated_files(path: Path) -> list[Path]:
    """Return the files that were rotated away from `path`, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.{'[0-9]' * SUFFIX_DIGITS}"))


def next_sequence(path: Path) -> int:
    """Return the `seq` that follows what lies at `path`, without opening it for writing; 0 where nothing can be read.

    For a disk that does not take writes now: numbers then go on where they stopped.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return _after_the_rotated(path)
    try:
        info = os.fstat(handle)
        _, found = _last_event(handle, info.st_size) if stat.S_ISREG(info.st_mode) else (0, None)
    except OSError:
        found = None
    finally:
        os.close(handle)
    return found + 1 if found is not None else _after_the_rotated(path)


def _after_the_rotated(path: Path) -> int:
    """A file that is empty begins after the newest that was rotated away."""
    for old in reversed(rotated_files(path)):
        handle = os.open(old, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _, found = _last_event(handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)
        if found is not None:
            return found + 1
    return 0


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


def _opened(path: Path, patience: float = 0.0) -> int:
    """Open an events file and take it for this process: no second stream appends here, its repair would cut our line.

    Waits so many seconds for another to let go; where it fails nothing stays open. Raises OSError, Unavailable.
    """
    give_up = time.monotonic() + patience
    while True:
        late, handle = time.monotonic() >= give_up, _open(path)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if late or not _is_elsewhere(path, handle):  # else who had it deleted it: another is begun
                return handle
            os.close(handle)
        except BlockingIOError as error:
            os.close(handle)
            if late:
                raise Unavailable(f"expected {path} for this stream alone, found it in use by another; stop that, or "
                                  "choose another events file") from error
        except BaseException:
            os.close(handle)
            raise
        time.sleep(0.05)


def _is_elsewhere(path: Path, handle: int) -> bool:
    try:
        now, ours = os.stat(path), os.fstat(handle)
    except FileNotFoundError:
        return True
    except OSError:  # a disk that answers nothing says so when it is written to
        return False
    return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino)


def _first_event(handle: int) -> bytes:
    """Return the first whole event, b"" where the file's first MiB has none."""
    lines = os.pread(handle, TAIL_BYTES, 0).splitlines(keepends=True)
    return next((line for line in lines if _sequence_in(line) is not None), b"")


def _ends_in_an_event(handle: int, size: int) -> bool:
    """Is the last whole line, which a torn one may follow, one that `events.py` writes?"""
    tail = os.pread(handle, TAIL_BYTES, max(0, size - TAIL_BYTES))
    end = tail.rfind(b"\n") + 1
    line = tail[tail.rfind(b"\n", 0, max(0, end - 1)) + 1 : end].lstrip(b"\0")
    return line.startswith(FIRST_BYTES) and _sequence_in(line) is not None and CLOCKS.search(line) is not None


def _is_lost(handle: int, size: int) -> bool:
    """Is it zeros, which some file systems leave of a whole file, or zeros and then at most the rest of one line?"""
    rest = b""
    for at in range(0, size, TAIL_BYTES):
        rest += os.pread(handle, TAIL_BYTES, at).lstrip(b"\0" if not rest else b"")
        if len(rest) > LINE_BYTES or b"\n" in rest[:-1]:
            return False
    return True


def _seconds_written(handle: int) -> float:
    """Return how long the boots of a file's events lasted in it, by the clock that only runs while one runs."""
    first: dict[bytes, float] = {}
    last: dict[bytes, float] = {}
    with open(os.dup(handle), "rb") as file:
        file.seek(0)
        for line in file:
            if found := CLOCKS.search(line):
                first.setdefault(found[1], float(found[2]))
                last[found[1]] = float(found[2])
    return sum(max(0.0, last[boot] - first[boot]) for boot in last)


def _last_event(handle: int, size: int) -> tuple[int, int | None]:
    """Return where the last whole event ends, and its `seq` (None where there is none)."""
    offset = max(0, size - TAIL_BYTES)
    tail = os.pread(handle, TAIL_BYTES, offset)
    for start, end in _lines_from_the_end(tail):
        found = _sequence_in(tail[start:end])
        if found is not None:
            return offset + end, found
    return offset, None


def _lines_from_the_end(tail: bytes) -> Iterator[tuple[int, int]]:
    end = len(tail)
    while end:
        start = tail.rfind(b"\n", 0, end - 1) + 1
        yield start, end
        end = start


def _sequence_in(line: bytes) -> int | None:
    """Return the `seq` of a whole line, None where it is torn."""
    try:
        value: Any = json.loads(line.lstrip(b"\0")) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    sequence = value.get("seq") if isinstance(value, dict) else None
    return sequence if type(sequence) is int else None
