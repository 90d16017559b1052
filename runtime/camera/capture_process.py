"""The parent's end of the capture process: start it, hear the newest from it, kill it.

Whatever the child does (hang, crash, babble), nothing here blocks for longer than asked. Linux only: memfd, prctl.
Knows nothing of recovery.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.camera.capture_child import MOST_BYTES
from runtime.camera.credentials import VARIABLE
from runtime.camera.request import CaptureRequest
from runtime.camera.ring import SLOT_BYTES, Ring, create_ring

ROOT = Path(__file__).parents[2]
PROGRAM = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
           "from runtime.camera.capture_child import main; sys.exit(main(*map(int, sys.argv[1:])))")
MOST_WORDS = 500  # characters of a reason
MOST_MESSAGES = 1024  # read in one go; a socket's buffer holds some 300, so only a child that babbles sends more
BURIAL = 0.2  # seconds to wait for a killed child; one that hangs inside a driver dies later, or never


@dataclass(frozen=True)
class News:
    """What a wait brought: the newest frame's picture, number, monotonic time and rate; how many damaged so far.

    lost: why the child has no camera any more; it then waits for `reopen`. torn: 1 where the picture was overwritten
    while it was copied, and is therefore None.
    """

    image: np.ndarray | None = None
    number: int = 0
    at: float = 0.0
    fps: float | None = None
    damaged: int = 0
    torn: int = 0
    lost: str = ""


class CaptureEnded(Exception):
    """The child is gone, or says what no child of ours says; the message says how."""


class CaptureProcess:
    """One child and its ring."""

    def __init__(self) -> None:
        """Start the child, which opens nothing yet. Raises OSError: no process, memory or descriptor is left."""
        self._damaged = 0
        with contextlib.ExitStack() as stack:  # what the child has inherited, or nobody will
            memory = create_ring()
            stack.callback(os.close, memory)
            said = os.memfd_create("mien-said", os.MFD_CLOEXEC)  # its stderr, see `jpeg_decoder.py`
            stack.callback(os.close, said)
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(theirs.close)
            self._ring: Ring | None = Ring(memory)
            environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(os.getpid()), str(theirs.fileno()), str(memory)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=environment,
                    pass_fds=(theirs.fileno(), memory), start_new_session=True)  # Ctrl-C is for us, and killpg for it
            except OSError:
                self._channel.close()
                raise

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.pid

    def begin(self, request: CaptureRequest) -> None:
        """Tell the child what to capture. Raises OSError where it is gone."""
        self._channel.send(request.to_json(), socket.MSG_DONTWAIT)

    def reopen(self) -> None:
        """Ask a child that has lost its camera to open it again."""
        with contextlib.suppress(OSError):  # gone: the next wait says so
            self._channel.send(b'{"reopen": true}', socket.MSG_DONTWAIT)

    def wait(self, seconds: float) -> News:
        """Return the newest there is, after at most `seconds`. Raises CaptureEnded."""
        if not self._channel_ready(seconds):
            return News(damaged=self._damaged)
        newest, lost = self._drain()
        if newest is None or self._ring is None:
            return News(damaged=self._damaged, lost=lost)
        image = self._ring.copy(newest["frame"], newest["width"], newest["height"])
        return News(image, newest["frame"], newest["at"], newest["fps"], self._damaged, int(image is None), lost)

    def kill(self) -> bool:
        """Kill the child and its commands; False where one is not dead yet, which happens inside a driver.

        Who opens the camera next finds it busy while a command of the last one lives.
        """
        if self._ring is not None:
            self._kill_group()
            self._channel.close()
            self._ring = None
        deadline = time.monotonic() + BURIAL
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(BURIAL)
        while not (gone := self.is_gone()) and time.monotonic() < deadline:
            time.sleep(0.005)
        return gone

    def is_gone(self) -> bool:
        """Return whether the child and all that it started have ended."""
        return self._process.poll() is not None and not group_lives(self._process.pid)

    def _kill_group(self) -> None:
        if self._process.returncode is None:  # not yet waited for, so the number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _channel_ready(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _drain(self) -> tuple[dict[str, Any] | None, str]:
        """Read every waiting message; return the newest frame's and the last loss."""
        newest, lost = None, ""
        for _ in range(MOST_MESSAGES):
            try:
                packet = self._channel.recv(MOST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                raise CaptureEnded(self._how_it_ended())
            try:
                message = json.loads(packet)
                self._damaged = int(message["damaged"])
                lost = str(message.get("lost", ""))[:MOST_WORDS]
                if "frame" in message:
                    newest = _checked(message)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise CaptureEnded("the capture process said what none says") from error
        return newest, lost

    def _how_it_ended(self) -> str:
        self._kill_group()  # one that is ending keeps the status it ends with
        try:
            code = self._process.wait(BURIAL)
        except subprocess.TimeoutExpired:
            return "the capture process hung up"
        if code < 0:
            return f"the capture process died of {signal.Signals(-code).name}"
        return f"the capture process ended with {code}"


def group_lives(group: int) -> bool:
    """Return whether a process of a group lives; one that waits for somebody to take its exit status does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # one that changed its user: it lives
        return True
    for each in Path("/proc").glob("[0-9]*/stat"):  # there is one, dead or alive: a container's init may bury nobody
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, of = each.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                return True
    return False


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    """Refuse numbers that would lead outside a slot; a child that was overwhelmed is not to be trusted."""
    number, width, height = (int(message[key]) for key in ("frame", "width", "height"))
    at, fps = float(message["at"]), message["fps"]
    if min(number, width, height) < 1 or width * height * 3 > SLOT_BYTES or not 0 <= at <= time.monotonic():
        raise ValueError("a frame that no slot holds, or of the future")
    return {"frame": number, "width": width, "height": height, "at": at, "fps": None if fps is None else float(fps)}
