"""SIGTERM and SIGINT end a stream after the frame in work, SIGHUP has its configuration read again.

What opens meanwhile is given up at once. A loop that hangs in a library would never see its signal: a thread, woken by
the C handler, then ends the process. Knows nothing of what is stopped or read again.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from runtime.errors import DONE, FAILED, MienError

OVERDUE_SECONDS = 4.0  # of the five in which a stream must have ended


class Stopped(MienError):
    """Somebody asked for the end before the beginning: nothing was begun, and nothing failed."""

    exit_code = DONE


class StopAsked(BaseException):
    """Raised by a signal in what is `interruptible`; no failure, so no `except Exception` takes it for one."""


class StopRequest:
    """What was asked by signals. Plain bools: a threading.Event set in a handler may deadlock on itself."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.asked = self.reload_asked = self._interrupts = False
        # called once, in a thread, where the loop does not end; None before there is a loop, and nothing to save
        self.overdue: Callable[[], object] | None = None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of SIGTERM and SIGINT."""
        self.asked = True
        if self._interrupts:
            self._interrupts = False  # once: what closes is not interrupted again
            raise StopAsked

    def ask_reload(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of SIGHUP."""
        self.reload_asked = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Have a stopping signal raise StopAsked in the body, or at once where one came before."""
        try:
            self._interrupts = True  # before the question: a signal between the two raises by itself
            if self.asked:
                raise StopAsked
            yield
        finally:
            self._interrupts = False


def outlive_export_requests() -> None:
    """Have SIGUSR1 ask nothing of a stream that does not count yet, in place of ending it.

    A handler, and not SIG_IGN, which children would inherit through exec. Only the main thread may catch signals.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, _nothing)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Be a handler: there is nothing to export yet, or nothing any more."""


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield what SIGTERM, SIGINT and SIGHUP set; SIGUSR1 sets nothing. The old handlers come back afterwards.

    Only the main thread may catch signals: in another one nothing is ever asked. 4 s after SIGTERM or SIGINT, with the
    body still running, `overdue` is called and the process ends with 1; with 0 where there is none yet.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {signal.SIGTERM: stop.ask, signal.SIGINT: stop.ask, signal.SIGHUP: stop.ask_reload,
                signal.SIGUSR1: _nothing}
    ours, kernels = socket.socketpair()
    kernels.setblocking(False)
    ended = threading.Event()
    guard = threading.Thread(target=_end_if_overdue, args=(ours, stop, ended), daemon=True)
    guard.start()
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    woke = signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)  # written before Python's handlers run
    try:
        yield stop
    finally:
        ended.set()
        signal.set_wakeup_fd(woke)
        for number, handler in before.items():
            signal.signal(number, handler)
        kernels.close()  # the thread reads the end, and ends
        guard.join()
        ours.close()


def _end_if_overdue(ours: socket.socket, stop: StopRequest, ended: threading.Event) -> None:
    """Wait for a stopping signal, then for the body; whoever is too late is ended without being asked."""
    while told := ours.recv(64):
        if {signal.SIGTERM, signal.SIGINT} & set(told):
            if ended.wait(OVERDUE_SECONDS):
                return
            if stop.overdue is None:
                os._exit(DONE)
            saving = threading.Thread(target=stop.overdue, daemon=True)  # may wait for what hangs: a second, no more
            saving.start()
            saving.join(0.7)
            os._exit(FAILED)
