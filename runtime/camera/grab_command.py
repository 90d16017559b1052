"""Frames that a command writes to its stdout: raw BGR or BGRx pictures of a known size, or JPEGs one after another.

GStreamer's and FFmpeg's programs come in here: pip's OpenCV has no GStreamer. The command dies with this process.
Knows nothing of what the command does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import PurePath

import cv2
import numpy as np

from runtime.camera.jpeg_decoder import Complaints, decode_jpeg
from runtime.camera.jpeg_stream import JpegStream
from runtime.camera.request import CaptureRequest
from runtime.camera.ring import SLOT_BYTES
from runtime.errors import BadInput, Unavailable
from runtime.supervision.die_with_parent import die_with_parent

CHUNK = 1 << 16  # bytes; what a pipe holds
MOST_WORDS = 4096  # bytes of a command's stderr that are looked at
CHANNELS = {"bgr": 3, "bgrx": 4}
ENDING = 0.5  # seconds that a command has for its own last word before it is killed


class CommandGrabber:
    """Runs a request's command and reads what it writes; no shell stands between."""

    def __init__(self, request: CaptureRequest, complaints: Complaints):
        """Start the command. Raises Unavailable where its program is missing, BadInput where a frame has no slot."""
        self.fps = request.fps or None
        self._complaints = complaints
        self._size = (request.width, request.height)
        self._channels = CHANNELS.get(request.pixels, 0)
        if self._channels and not 0 < request.width * request.height * 3 <= SLOT_BYTES:
            raise BadInput(f"expected raw frames of 1–{SLOT_BYTES // 3} pixels, found {request.width}×{request.height} "
                           f"asked of {request.name}; ask for a smaller picture")
        self._program = PurePath(request.command[0]).name
        if shutil.which(request.command[0]) is None:
            raise Unavailable(f"expected the program {self._program}, found none; install it, or name another source")
        parent = os.getpid()
        self._said = os.memfd_create("mien-said") if request.quotable else None
        self._process = subprocess.Popen(
            request.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
            stderr=subprocess.DEVNULL if self._said is None else self._said,
            preexec_fn=lambda: die_with_parent(parent))  # safe: this process has one thread
        self._pictures = self._jpegs()
        self._scratch = np.empty(self._channels * request.width * request.height, np.uint8)

    def grab(self, into: np.ndarray) -> tuple[int, int] | None:
        """Be a Grabber's grab."""
        width, height = self._size
        if self._channels == 3:
            self._fill(into[: width * height * 3])
            return self._size
        if self._channels == 4:
            self._fill(self._scratch)
            picture = into[: width * height * 3].reshape(height, width, 3)
            cv2.cvtColor(self._scratch.reshape(height, width, 4), cv2.COLOR_BGRA2BGR, dst=picture)
            return self._size
        content = next(self._pictures)
        image = None if content is None else decode_jpeg(content, self._complaints)
        if image is None:
            return None
        into[: image.size] = image.reshape(-1)
        return image.shape[1], image.shape[0]

    def close(self) -> None:
        """End the command."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        if self._said is not None:
            os.close(self._said)
            self._said = None

    def _jpegs(self) -> Iterator[bytes | None]:
        stream = JpegStream()
        while True:
            yield from stream.feed(self._read(CHUNK))

    def _fill(self, target: np.ndarray) -> None:
        view, filled = target.data, 0
        assert self._process.stdout is not None
        while filled < len(view):
            count = self._process.stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise self._ended()
            filled += count

    def _read(self, most: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(most)
        if not content:
            raise self._ended()
        return content

    def _ended(self) -> Unavailable:
        try:
            how = f"ended with {self._process.wait(ENDING)}"
        except subprocess.TimeoutExpired:
            how = "closed its output"
        return Unavailable(f"expected another frame from {self._program}, found that it {how}{self._last_words()}; "
                           "run it by hand")

    def _last_words(self) -> str:
        """Return the first line the command said that is not empty, where it may be repeated: causes come first."""
        if self._said is None:
            return ""
        lines = os.pread(self._said, MOST_WORDS, 0).decode("utf-8", "replace").splitlines()
        first = next((line for line in map(str.strip, lines) if line), "")
        return f" ({''.join(c for c in first if c.isprintable())[:200]})" if first else ""
