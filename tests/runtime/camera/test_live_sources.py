"""Addresses of live sources: what each asks of the capture process, and that wrong ones are refused in one line."""

from __future__ import annotations

import pytest

from runtime.camera import live_sources, names_a_path, open_source
from runtime.camera.request import CaptureRequest
from runtime.camera.v4l2 import ANY_MODE, CameraMode
from runtime.errors import BadInput


def test_a_csi_camera_is_a_gstreamer_pipeline() -> None:
    request = live_sources.csi("csi://1?mode=2&flip=6", CameraMode(1920, 1080, 60))
    assert " ".join(request.command) == (
        "gst-launch-1.0 -q nvarguscamerasrc sensor-id=1 sensor-mode=2 "
        "! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1 ! nvvidconv flip-method=6 "
        "! video/x-raw,format=BGRx,width=1920,height=1080 ! fdsink fd=1 sync=false")
    assert (request.name, request.pixels, request.width, request.height) == ("csi://1", "bgrx", 1920, 1080)


def test_a_csi_camera_has_a_usual_mode() -> None:
    command = " ".join(live_sources.csi("csi://0", ANY_MODE).command)
    assert "sensor-mode=-1" in command and "width=1280,height=720,framerate=30/1" in command


@pytest.mark.parametrize("uri", [
    "csi://", "csi://x", "csi://16", "csi://0?flip=8", "csi://0?mode=-2", "csi://0?size=3", "csi://0/1",
    "csi://0?flip=0%20!%20filesink", "pipe:", "pipe:mjpeg:", "pipe:mjpeg:'open", "pipe:cat x", "pipe:640:cat x",
    "rtsp://", "rtsp://host:port/x", "synthetic://?size=3", "synthetic://?sise=3x3", "synthetic://?fps=0",
    "synthetic://?live=2", "synthetic://?heads=1000", "synthetic://?live=1&size=0x0", "synthetic://?fps=nan",
    "file:///x?paced=yes", "file:///x?speed=2"])
def test_a_wrong_address_is_one_line(uri: str) -> None:
    with pytest.raises(BadInput, match="^expected .*, found ") as caught:
        open_source(uri)
    assert "\n" not in str(caught.value)


def test_a_pipe_has_a_size_or_is_mjpeg() -> None:
    raw = live_sources.pipe("pipe:640x480:ffmpeg -i 'a b' -f rawvideo -", ANY_MODE)
    assert (raw.command, raw.pixels, raw.width, raw.height) == (
        ("ffmpeg", "-i", "a b", "-f", "rawvideo", "-"), "bgr", 640, 480)
    assert live_sources.pipe("pipe:mjpeg:/usr/bin/cat x", ANY_MODE).name == "pipe:cat"


def test_an_rtsp_camera_is_named_by_its_host() -> None:
    request = live_sources.rtsp("rtsp://camera/user=a&password=hunter2", None)
    assert request.name == "rtsp://camera:554"
    assert "hunter2" not in repr(request)


def test_a_request_travels_whole() -> None:
    request = CaptureRequest("command", "n", "a", ("x", "y z"), "bgr", True, 1, 2, 3.5, "u:p")
    assert CaptureRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(("uri", "expected"), [
    ("0", False), ("clip.mp4", True), ("/a/b", True), ("v4l2:///dev/video0", False), ("pipe:mjpeg:cat x", False)])
def test_a_path_is_told_from_an_address(uri: str, expected: bool) -> None:
    assert names_a_path(uri) is expected
