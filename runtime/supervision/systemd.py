"""What systemd is told of a service: one datagram a message, on the socket that NOTIFY_SOCKET names.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html. Knows nothing of why; without the socket
(a person's shell) every call does nothing, and a socket that takes nothing never delays a frame.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress


class Notifier:
    """Speaks to the service manager; `watchdog_seconds` is how often it wants to hear of progress, 0 never."""

    def __init__(self, environment: Mapping[str, str] = os.environ):
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; what a parent was meant to answer is not ours."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # Linux's abstract names begin with a zero byte
            self._address = "\0" + self._address[1:]
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        asked, whom = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        ours = not whom or whom == str(os.getpid())
        self.watchdog_seconds = int(asked) / 1e6 if asked.isdecimal() and ours else 0.0
        self._pinged = -float("inf")

    def ready(self, status: str) -> None:
        """Say that the service works: the engine agreed with its golden faces and every piece is open."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Say how it goes, in one line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

    def progress(self) -> None:
        """Say that the loop went round; sent at most four times in each interval of the watchdog."""
        now = time.monotonic()
        if self.watchdog_seconds and now - self._pinged >= self.watchdog_seconds / 4:
            self._pinged = now
            self._send("WATCHDOG=1")

    def needs_longer(self, seconds: float) -> None:
        """Ask for more time to start, reload or stop: a model is being opened or an engine compiled."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nWATCHDOG=1")

    @contextmanager
    def opening(self, seconds: float) -> Iterator[None]:
        """Vouch for the body to the watchdog, which EXTEND_TIMEOUT_USEC does not hold back, for at most `seconds`.

        A body that takes longer hangs, and is the watchdog's to judge.
        """
        self.needs_longer(seconds)
        ended = threading.Event()
        voucher = threading.Thread(target=self._vouch, args=(ended, seconds), daemon=True, name="watchdog")
        with suppress(RuntimeError):  # no thread is left: what opens quickly needs none
            voucher.start()
        try:
            yield
        finally:
            ended.set()
            if voucher.ident is not None:
                voucher.join()

    def _vouch(self, ended: threading.Event, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.watchdog_seconds and not ended.wait(self.watchdog_seconds / 4) and time.monotonic() < until:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that a new configuration is being opened; `ready` says that it is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the end began."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # full, or the manager is being replaced: the watchdog judges us, not this
            self._socket.sendto(message.encode(), self._address)


def _one_line(text: str) -> str:
    return " ".join(text.split())
