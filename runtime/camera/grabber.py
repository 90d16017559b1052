"""What the capture process takes frames with, and which one a request means. Knows nothing of rings or parents."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from runtime.camera.grab_command import CommandGrabber
from runtime.camera.grab_opencv import OpenCvGrabber
from runtime.camera.jpeg_decoder import Complaints
from runtime.camera.request import CaptureRequest
from runtime.camera.synthetic import SyntheticGrabber


class Grabber(Protocol):
    """An open camera, or what stands for one."""

    fps: float | None  # nominal, where known

    def grab(self, into: np.ndarray) -> tuple[int, int] | None:
        """Write the next frame, BGR row by row, to the front of a flat uint8 array and return its (width, height).

        None for a frame that came damaged. Blocks as long as the camera does. Raises Unavailable when it went away,
        BadInput where a frame is larger than the array.
        """

    def close(self) -> None:
        """Let go of the camera."""


def open_grabber(request: CaptureRequest, complaints: Complaints) -> Grabber:
    """Open what a request names. Raises Unavailable where it is missing, busy or shut, BadInput on its size."""
    if request.kind == "command":
        return CommandGrabber(request, complaints)
    if request.kind == "synthetic":
        return SyntheticGrabber(request.address)
    return OpenCvGrabber(request, complaints)
