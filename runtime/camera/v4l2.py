"""A camera behind Linux's Video4Linux2, through OpenCV. Knows nothing of files; a stalled camera is a later matter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from runtime.camera.source import Frame, FrameSource, check_pixels
from runtime.errors import Unavailable


@dataclass(frozen=True)
class CameraMode:
    """What to ask of a camera; 0 leaves a value to the driver, and a driver may answer with its nearest mode."""

    width: int = 0
    height: int = 0
    fps: float = 0


ANY_MODE = CameraMode()


class V4l2Camera(FrameSource):
    """Frames from one video device, newest first kept: the driver's queue is asked to hold a single frame."""

    def __init__(self, device: Path, mode: CameraMode = ANY_MODE):
        """Open the device. Raises Unavailable where it is missing, busy or no camera."""
        if not device.is_char_device():
            found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
            raise Unavailable(f"expected a camera at {device}, found no such device (video devices: {found}); "
                              "connect it, or name another source")
        self._capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise Unavailable(f"expected a camera at {device}, found one that does not open; another program may "
                              f"hold it (fuser {device}), or this user may not read it")
        wanted = ((cv2.CAP_PROP_FRAME_WIDTH, mode.width), (cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
                  (cv2.CAP_PROP_FPS, mode.fps), (cv2.CAP_PROP_BUFFERSIZE, 1))
        for setting, value in wanted:
            if value:
                self._capture.set(setting, value)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        check_pixels(width, height, str(device))
        self.name = str(device)
        self.size = (width, height)
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None
        self.damaged = 0

    def __iter__(self) -> Iterator[Frame]:
        start, index = time.monotonic(), 0
        while True:
            read, image = self._capture.read()
            if not read or image is None:
                raise Unavailable(f"expected another frame from {self.name}, found none after {index}; "
                                  "the camera was unplugged or stopped")
            check_pixels(image.shape[1], image.shape[0], self.name)
            yield Frame(image, index, time.monotonic() - start)
            index += 1

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()
