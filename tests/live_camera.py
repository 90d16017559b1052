"""A camera made of a FIFO: the test writes pictures into it, a real capture process reads them through `cat`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from runtime.camera import open_source
from runtime.camera.live import LiveSource
from runtime.camera.recovery import Recovery
from runtime.camera.source import CameraEvent, Frame

Record = Callable[[str, object], None]
PATIENCE = 60.0  # seconds before a test gives up; others work on the same machine
# Deadlines for tests: a child has long to start, and none of the waits between tries
QUICK = Recovery(stall_seconds=1.0, start_seconds=15.0, longest_wait=0.3, wait_at_start=True, frozen_seconds=0,
                 spare=False)


def note(record: Record, fault: str, injected: str, observed: str) -> None:
    """Have the table of faults say what was done to a camera and what was seen."""
    record("fault", fault)
    record("injected", injected)
    record("observed", observed)


def picture(seed: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a scene with a slope, and sensor noise of its own, (H, W, 3)."""
    slope = np.linspace(40, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    return (slope + np.random.default_rng(seed).normal(0, 6, slope.shape)).clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """Return a picture as a JPEG."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


class FifoCamera:
    """A FIFO that is held open at both ends, so that nobody blocks and its reader meets no end."""

    def __init__(self, path: Path):
        """Make the FIFO."""
        os.mkfifo(path)
        self.uri = f"pipe:mjpeg:cat {path}"
        self._handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._sent = 0

    def send(self, content: bytes | None = None) -> None:
        """Write bytes, a new picture by default; none where the pipe is full, as a camera without a reader does."""
        self._sent += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._handle, jpeg(picture(self._sent)) if content is None else content)

    def close(self) -> None:
        """Let go of the FIFO."""
        os.close(self._handle)


class Watched:
    """A live source with everything it yielded and said."""

    def __init__(self, uri: str, recovery: Recovery = QUICK):
        """Open it."""
        source = open_source(uri, recovery=recovery)
        assert isinstance(source, LiveSource)
        self.source = source
        self.frames: list[Frame] = []
        self.events: list[CameraEvent] = []
        self.longest_silence = 0.0  # seconds between two answers
        self._answers = iter(source)

    def step(self) -> Frame | None:
        """Ask once."""
        asked = time.monotonic()
        frame = next(self._answers)
        self.longest_silence = max(self.longest_silence, time.monotonic() - asked)
        self.events += self.source.happenings()
        if frame is not None:
            self.frames.append(frame)
        return frame

    def until(self, done: Callable[[], object], feed: Callable[[], object] = lambda: None) -> float:
        """Feed and ask, some 50 times a second, until `done`; return the seconds it took."""
        start = time.monotonic()
        while not done():
            assert time.monotonic() - start < PATIENCE, f"it never came; heard {[e.kind for e in self.events]}"
            feed()
            self.step()
            time.sleep(0.02)
        return time.monotonic() - start

    def heard(self, kind: str) -> list[CameraEvent]:
        """Return the events of a kind so far."""
        return [e for e in self.events if e.kind == kind]

    def process(self) -> int:
        """Return the capture process's number, which is there."""
        number = self.source.capture_process_id
        assert number is not None
        return number


def alive(process: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
