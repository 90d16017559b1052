"""A command of the ladder, run beside us and never waited for longer than asked. Knows nothing of cameras."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time

from runtime.camera.recovery import Rung

PATIENCE = 20.0  # seconds; a camera daemon restarts in two, a USB hub comes up in five


class RepairCommand:
    """One run of a command, without a shell and without anything it says."""

    def __init__(self, rung: Rung, command: str):
        """Start it; what keeps it from starting is its outcome."""
        self.rung = rung
        self._deadline = time.monotonic() + PATIENCE
        self._failed = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True)
        except OSError as error:
            self._failed = f"did not start: {error.strerror}"

    def outcome(self, seconds: float) -> str:
        """Wait for at most `seconds`; return how it ended, "" while it runs. One that takes too long is killed."""
        if self._process is None:
            return self._failed
        try:
            return f"ended with {self._process.wait(seconds)}"
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() < self._deadline:
            return ""
        self.kill()
        return f"did not end within {PATIENCE:g} s"

    def is_gone(self) -> bool:
        """Return whether it ended, by itself or killed."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it with all it started."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
