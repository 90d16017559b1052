"""Open where frames come from: a camera, a video file, a folder of images or one image, named by a URI or a path."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from runtime.camera.image_files import ImageFiles, images_in
from runtime.camera.quiet import quiet_opencv
from runtime.camera.source import FrameSource
from runtime.camera.v4l2 import ANY_MODE, CameraMode, V4l2Camera
from runtime.camera.video_file import VideoFile
from runtime.errors import BadInput

KNOWN = "a camera (0 or v4l2:///dev/video0), a video file, a folder of images or an image"


def open_source(uri: str, mode: CameraMode = ANY_MODE) -> FrameSource:
    """Open `0`, `v4l2:///dev/video0`, `file:///a/clip.mp4` or a path; `mode` is asked of a camera only.

    Raises BadInput where a file is missing or unreadable, Unavailable where a camera is missing.
    """
    if not uri:  # a path of nothing would be the working directory
        raise BadInput(f"expected {KNOWN}, found an empty name; name one")
    quiet_opencv()
    if uri.isdecimal():
        return V4l2Camera(Path(f"/dev/video{int(uri)}"), mode)
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "v4l2":
        return V4l2Camera(Path(unquote(rest)), mode)
    if separator and scheme == "file":
        return _open_path(Path(unquote(urlsplit(uri).netloc + urlsplit(uri).path)))
    if separator and not Path(uri).exists():  # only the scheme is repeated: an address may hold a password
        raise BadInput(f"expected {KNOWN}, found a {scheme}:// address; this version does not read those")
    return _open_path(Path(uri))


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return ImageFiles(images_in(path), path.name or str(path))
    if not path.is_file():
        raise BadInput(f"expected {KNOWN}, found no file {str(path)!r}; check the path")
    if path.suffix.lower() in ImageFiles.SUFFIXES:
        return ImageFiles([path], path.name)
    return VideoFile(path)
