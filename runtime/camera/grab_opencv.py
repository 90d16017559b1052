"""Frames through OpenCV: a Video4Linux2 device, or an RTSP camera through the FFmpeg that its wheels carry.

RTSP goes over TCP (lost packets would become grey smears that nobody counts). The password is put into the address
here, in this process's memory: no command line shows it. Whatever the decoder writes to stderr while a frame is read
makes that frame a damaged one; FFmpeg decodes ahead, so the complaint may be about a neighbour.
Knows nothing of deadlines.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import numpy as np

from runtime.camera.jpeg_decoder import Complaints
from runtime.camera.request import CaptureRequest
from runtime.camera.ring import SLOT_BYTES
from runtime.camera.video_devices import check_present, holders
from runtime.errors import BadInput, Unavailable

NAMED = 3  # holders of a busy device
AV_LOG_ERROR = "16"  # of FFmpeg's levels: decoding errors and no advice


class OpenCvGrabber:
    """One open cv2.VideoCapture."""

    def __init__(self, request: CaptureRequest, complaints: Complaints):
        """Open it. Raises Unavailable where it is missing, busy or no camera, BadInput where frames are too large."""
        self._name, self._complaints = request.name, complaints
        self._capture = _open_device(request) if request.kind == "v4l2" else _open_stream(request)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._check(width, height)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0 < rate < 1000 else None

    def grab(self, into: np.ndarray) -> tuple[int, int] | None:
        """Be a Grabber's grab."""
        self._complaints.any()
        read, image = self._capture.read()
        if not read or image is None:
            raise Unavailable(f"expected another frame from {self._name}, found none; it was unplugged or stopped")
        if self._complaints.any() or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return None
        self._check(image.shape[1], image.shape[0])
        into[: image.size] = image.reshape(-1)
        return image.shape[1], image.shape[0]

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()

    def _check(self, width: int, height: int) -> None:
        if not 0 < width * height * 3 <= SLOT_BYTES:
            self._capture.release()
            raise BadInput(f"expected frames of 1–{SLOT_BYTES // 3} pixels, found {width}×{height} from {self._name}; "
                           "ask for a smaller picture")


def _open_device(request: CaptureRequest) -> cv2.VideoCapture:
    device = Path(request.address)
    check_present(device)
    capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    if not capture.isOpened():
        holding = ", ".join(f"{h.program} (process {h.process})" for h in holders(device)[:NAMED])
        why = f"it is held by {holding}; stop that" if holding else (
            "this user may not read it, it is no camera, or one holds it whom this user may not see")
        raise Unavailable(f"expected a camera at {device}, found one that does not open: {why}")
    wanted = ((cv2.CAP_PROP_FRAME_WIDTH, request.width), (cv2.CAP_PROP_FRAME_HEIGHT, request.height),
              (cv2.CAP_PROP_FPS, request.fps), (cv2.CAP_PROP_BUFFERSIZE, 1))  # the driver's queue: the newest only
    for setting, value in wanted:
        if value:
            capture.set(setting, value)
    return capture


def _open_stream(request: CaptureRequest) -> cv2.VideoCapture:
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp|fflags;nobuffer"
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = AV_LOG_ERROR
    capture = cv2.VideoCapture(with_secret(request.address, request.secret), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise Unavailable(f"expected an RTSP stream at {request.name}, found none that opens; check the address, the "
                          "network and the credentials")
    return capture


def with_secret(address: str, secret: str) -> str:
    """Return an address with `user:password` in it, escaped; unchanged without a secret."""
    if not secret:
        return address
    user, _, password = secret.partition(":")
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))
