"""Addresses of live sources → what the capture process is asked for.

    v4l2:///dev/video0                     a Video4Linux2 device; by-id paths are found again under another number
    csi://0?mode=2&flip=2                  a CSI camera on a Jetson, through nvarguscamerasrc
    rtsp://host/path                       a network camera; its credentials come from `credentials.py`
    pipe:mjpeg:COMMAND                     a command that writes JPEGs one after another to its stdout
    pipe:640x480:COMMAND                   … or BGR bytes of that size
    synthetic://?live=1&…                  a drawn scene, captured like a camera

Knows nothing of how any of them is read.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from runtime.camera.credentials import read_credentials, refuse_in_address
from runtime.camera.request import CaptureRequest
from runtime.camera.synthetic import scene_of
from runtime.camera.v4l2 import CameraMode
from runtime.errors import BadInput

CSI_SIZE, CSI_FPS = (1280, 720), 30  # where nothing else is asked; every sensor of JetPack's list has a mode for it
MOST_SENSORS = 16


def v4l2(device: str, mode: CameraMode) -> CaptureRequest:
    """Return the request for a device, such as `/dev/video0`."""
    return CaptureRequest("v4l2", device, address=device, width=mode.width, height=mode.height, fps=mode.fps)


def csi(uri: str, mode: CameraMode) -> CaptureRequest:
    """Return the request for `csi://0?mode=2&flip=2`: sensor mode (-1: the driver's choice), flip as nvvidconv has it.

    The properties are those of NVIDIA's Accelerated GStreamer guide (Jetson Linux). Raises BadInput.
    """
    parts = urlsplit(uri)
    options = {"mode": "-1", "flip": "0", **dict(parse_qsl(parts.query, keep_blank_values=True))}
    asked = "/".join((parts.netloc, parts.path.strip("/"), *(f"{k}={v}" for k, v in sorted(options.items()))))
    if not re.fullmatch(r"\d{1,2}//flip=[0-7]/mode=(-1|\d{1,2})", asked) or int(parts.netloc) >= MOST_SENSORS:
        raise BadInput(f"expected csi://0?mode=2&flip=2 (sensor 0–{MOST_SENSORS - 1}, flip 0–7), found {uri}")
    width, height = (mode.width, mode.height) if mode.width and mode.height else CSI_SIZE
    fps = round(mode.fps) or CSI_FPS
    camera = (f"nvarguscamerasrc sensor-id={int(parts.netloc)} sensor-mode={options['mode']} "
              f"! video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 "
              f"! nvvidconv flip-method={options['flip']}")
    return gstreamer(f"csi://{int(parts.netloc)}", camera, width, height, fps)


def gstreamer(name: str, camera: str, width: int, height: int, fps: float) -> CaptureRequest:
    """Return the request for a GStreamer pipeline whose elements so far give pictures of a size.

    BGRx, which nvvidconv can write, also has no padding at the end of a row, which GStreamer gives BGR.
    """
    pipeline = f"{camera} ! video/x-raw,format=BGRx,width={width},height={height} ! fdsink fd=1 sync=false"
    return CaptureRequest("command", name, command=("gst-launch-1.0", "-q", *pipeline.split()), pixels="bgrx",
                          quotable=True, width=width, height=height, fps=fps)


def rtsp(uri: str, credentials: Path | None) -> CaptureRequest:
    """Return the request for a network camera; `credentials` is a file, None for the environment's.

    It is named by its host alone: some cameras want a password inside the path. Raises BadInput.
    """
    refuse_in_address(uri)
    parts = urlsplit(uri)
    try:
        host = parts.hostname and f"{parts.hostname}:{parts.port or 554}"  # RFC 7826: 554 by default
    except ValueError:  # a port that is no number
        host = None
    if not host:
        raise BadInput("expected rtsp://host:port/path, found an address without a host, or with an odd port")
    return CaptureRequest("rtsp", f"{parts.scheme}://{host}", address=uri, secret=read_credentials(credentials))


def pipe(uri: str, mode: CameraMode) -> CaptureRequest:
    """Return the request for `pipe:mjpeg:COMMAND` or `pipe:640x480:COMMAND`. Raises BadInput."""
    pixels, _, line = uri.removeprefix("pipe:").partition(":")
    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", pixels)
    try:
        command = tuple(shlex.split(line))
    except ValueError:
        command = ()
    if not command or not (size or pixels == "mjpeg"):  # the command is not repeated: it may hold a password
        raise BadInput("expected pipe:mjpeg:COMMAND, or pipe:640x480:COMMAND for raw BGR, found another form; "
                       "mind the quotes")
    name = f"pipe:{command[0].rpartition('/')[2]}"
    if size:
        return CaptureRequest("command", name, command=command, pixels="bgr", width=int(size[1]), height=int(size[2]),
                              fps=mode.fps)
    return CaptureRequest("command", name, command=command, fps=mode.fps)


def synthetic(query: str) -> CaptureRequest:
    """Return the request for a drawn scene. Raises BadInput."""
    scene_of(query)
    return CaptureRequest("synthetic", "synthetic", address=query)


def device_of(uri: str) -> str:
    """Return the device that `v4l2:///dev/video0` or a bare number names."""
    return f"/dev/video{int(uri)}" if uri.isdecimal() else unquote(uri.removeprefix("v4l2://"))
