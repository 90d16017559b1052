"""The capture process: takes frames with a grabber into the ring, and tells its parent by a socket.

It may hang or crash; its parent kills it then. It ends by itself when its parent does. Messages are JSON, one a packet:

    parent → child    a CaptureRequest, then {"reopen": true} after a loss
    child → parent    {"frame": number, "width": …, "height": …, "at": monotonic seconds, "fps": …, "damaged": so far}
                      {"lost": why, "damaged": so far}

Knows nothing of recovery or of a picture's quality.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping

from runtime.camera.grabber import open_grabber
from runtime.camera.jpeg_decoder import Complaints
from runtime.camera.quiet import quiet_opencv
from runtime.camera.request import CaptureRequest
from runtime.camera.ring import Ring
from runtime.errors import MienError
from runtime.supervision.core_dumps import forbid_core_dumps
from runtime.supervision.die_with_parent import die_with_parent

MOST_BYTES = 1 << 16  # of one message


def main(parent: int, channel_handle: int, ring_handle: int) -> int:
    """Capture until the parent hangs up; arguments are its process id and two inherited descriptors."""
    die_with_parent(parent)
    forbid_core_dumps()  # its parent's word ended with exec, and here the frames are
    quiet_opencv()
    channel = socket.socket(fileno=channel_handle)
    ring = Ring(ring_handle)
    request = CaptureRequest.from_json(channel.recv(MOST_BYTES))
    capture = _Capture(channel, ring)
    while True:
        try:
            capture.run(request)
        except MienError as error:
            channel.sendall(json.dumps({"lost": str(error), "damaged": capture.damaged}).encode())
        if not channel.recv(MOST_BYTES):  # b"" is the end; anything else asks to open again
            return 0


class _Capture:
    """Frame numbers and the count of damaged ones, which go on over a reopening."""

    def __init__(self, channel: socket.socket, ring: Ring):
        self._channel, self._ring = channel, ring
        self._number = 0
        self.damaged = 0

    def run(self, request: CaptureRequest) -> None:
        """Open the source and pass its frames on. Raises MienError when it is lost."""
        complaints = Complaints()
        with contextlib.closing(open_grabber(request, complaints)) as grabber:
            while True:
                slot = self._ring.begin(self._number + 1)
                size = grabber.grab(slot)
                if size is None:
                    self.damaged += 1
                    self._tell({"damaged": self.damaged})
                    continue
                self._number += 1
                self._ring.end(self._number)
                self._tell({"frame": self._number, "width": size[0], "height": size[1], "at": time.monotonic(),
                            "fps": grabber.fps, "damaged": self.damaged})

    def _tell(self, news: Mapping[str, float | None]) -> None:
        with contextlib.suppress(BlockingIOError):  # a parent that is busy for long misses news, never blocks us
            self._channel.send(json.dumps(news).encode(), socket.MSG_DONTWAIT)
