"""Appended lines reach the disk in time, in a thread of their own: an SD card may take a second, and no frame waits.

The time runs from the first line that was not flushed, whether or not another follows. Knows nothing of lines: a count
is all that it keeps of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time

log = logging.getLogger(__name__)


class TimedSync:
    """Flushes one file, at most `seconds` after it was written to; `close` before the file is closed."""

    def __init__(self, seconds: float):
        """Nothing was written yet, and no thread runs before something is."""
        self._seconds = seconds
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._handle = -1
        self._lines, self._due, self._closed = 0, 0.0, False
        self.failed = 0  # lines that a flush which failed was to keep: they are in the file, on the disk perhaps
        self.trouble = ""  # what the disk said last; '' once a flush worked

    def wrote(self, handle: int) -> None:
        """Hear of one more line in an open file, which stays open until `done` or `close`."""
        with self._turn:
            if not self._lines:
                self._due = time.monotonic() + self._seconds
            self._handle, self._lines = handle, self._lines + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="event-sync")
                try:
                    self._thread.start()
                except RuntimeError:  # no thread is left: a frame waits for the disk this once
                    self._thread = None
            self._turn.notify()
            late = self._thread is None and time.monotonic() >= self._due
        if late:
            self._sync()

    def done(self) -> None:
        """Hear that all lines so far were flushed otherwise, or that their file was."""
        with self._turn:
            self._lines, self._handle, self.trouble = 0, -1, ""

    def close(self) -> int:
        """End the thread after the flush in work; return how many lines nobody has flushed."""
        with self._turn:
            self._closed = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join()
        return self._lines

    def _run(self) -> None:
        while True:
            with self._turn:
                while not self._closed and not (self._lines and time.monotonic() >= self._due):
                    self._turn.wait(self._due - time.monotonic() if self._lines else None)
                if self._closed:
                    return
            self._sync()

    def _sync(self) -> None:
        """Flush a copy of the handle, so that a rotation may close the file meanwhile."""
        with self._turn:
            if not self._lines:
                return
            lines, self._lines = self._lines, 0
            why, copy = "", -1
            try:
                copy = os.dup(self._handle)
            except OSError as error:
                why = error.strerror or str(error)
        if copy >= 0:
            try:
                os.fsync(copy)
            except OSError as error:
                why = error.strerror or str(error)
            finally:
                os.close(copy)
        with self._turn:
            if not why:
                self.trouble = ""
                return
            if not self.trouble:
                log.warning("expected the disk to keep %d events, found: %s; they are in the file, and a power cut may "
                            "take them", lines, why)
            # Linux reports a failed write-back once and takes the pages for clean: a later flush proves nothing of them
            self.failed, self.trouble = self.failed + lines, why
