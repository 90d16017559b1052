"""Open where frames come from, named by a URI or a path: live cameras, files, folders, a drawn scene.

    0, v4l2:///dev/video0, csi://0, rtsp://host/path, pipe:mjpeg:COMMAND    live: see `live_sources.py` and `live.py`
    file:///a/clip.mp4?paced=1&loop=1, a path, a folder, an image           in order, as fast as they are read
    synthetic://?size=640x480&fps=30&seed=0&heads=1&frames=0&faces=FOLDER   drawn; see `synthetic.py`

A kind of source is imported where one is opened: a file needs no capture process, and a camera no video decoder.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from runtime.camera.quiet import quiet_opencv
from runtime.camera.recovery import Recovery
from runtime.camera.source import FrameSource
from runtime.camera.v4l2 import ANY_MODE, CameraMode
from runtime.errors import BadInput

KNOWN = ("a camera (0, v4l2:///dev/video0, csi://0, rtsp://host/path, pipe:mjpeg:COMMAND), a video file, a folder of "
         "images, an image or synthetic://")
NO_RECOVERY_TOLD = Recovery()


def open_source(uri: str, mode: CameraMode = ANY_MODE, recovery: Recovery = NO_RECOVERY_TOLD) -> FrameSource:
    """Open `0`, `rtsp://camera/stream`, `file:///a/clip.mp4`, a path …; mode and recovery concern live sources only.

    Raises BadInput where a file is missing or unreadable, Unavailable where a camera is missing and is not waited for.
    """
    if not uri:  # a path of nothing would be the working directory
        raise BadInput(f"expected {KNOWN}, found an empty name; name one")
    quiet_opencv()
    scheme, separator, _ = uri.partition("://")
    if uri.isdecimal() or uri.startswith("pipe:") or (separator and scheme in ("v4l2", "csi", "rtsp", "rtsps")):
        return _open_live(uri, scheme, mode, recovery)
    if separator and scheme == "synthetic":
        return _open_synthetic(urlsplit(uri).query, recovery)
    if separator and scheme == "file":
        return _open_file(uri)
    if separator and not Path(uri).exists():  # only the scheme is repeated: an address may hold a password
        raise BadInput(f"expected {KNOWN}, found a {scheme}:// address; this version does not read those")
    return _open_path(Path(uri))


def names_a_path(uri: str) -> bool:
    """Return whether a source is a bare path, which a configuration file may mean as "beside this file"."""
    return "://" not in uri and not uri.isdecimal() and not uri.startswith("pipe:")


def _open_live(uri: str, scheme: str, mode: CameraMode, recovery: Recovery) -> FrameSource:
    from runtime.camera import live_sources
    from runtime.camera.live import LiveSource
    from runtime.camera.video_devices import check_present

    if uri.startswith("pipe:"):
        return LiveSource(live_sources.pipe(uri, mode), recovery)
    if scheme == "csi":
        return LiveSource(live_sources.csi(uri, mode), recovery)
    if scheme in ("rtsp", "rtsps"):
        return LiveSource(live_sources.rtsp(uri, recovery.credentials), recovery)
    device = live_sources.device_of(uri)
    if not recovery.wait_at_start:
        check_present(Path(device))
    return LiveSource(live_sources.v4l2(device, mode), recovery)


def _open_synthetic(query: str, recovery: Recovery) -> FrameSource:
    from runtime.camera import live_sources
    from runtime.camera.live import LiveSource
    from runtime.camera.playback import Playback
    from runtime.camera.synthetic import Synthetic, scene_of

    options = dict(parse_qsl(query, keep_blank_values=True))
    live = _switch(options, "live", "synthetic")
    if live:
        return LiveSource(live_sources.synthetic(urlencode(options)), recovery)
    paced = _switch(options, "paced", "synthetic")
    scene = scene_of(urlencode(options))
    return Playback(lambda: Synthetic(scene), paced=True, loop=False) if paced else Synthetic(scene)


def _open_file(uri: str) -> FrameSource:
    from runtime.camera.playback import Playback

    parts = urlsplit(uri)
    path = Path(unquote(parts.netloc + parts.path))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    paced, loop = _switch(options, "paced", "file"), _switch(options, "loop", "file")
    if options:
        raise BadInput(f"expected paced and loop after file://…?, found {', '.join(options)}; a ? in a name is %3F")
    return Playback(lambda: _open_path(path), paced, loop) if paced or loop else _open_path(path)


def _switch(options: dict[str, str], name: str, scheme: str) -> bool:
    """Take a switch out of a query's options. Raises BadInput unless it is 0 or 1."""
    value = options.pop(name, "0")
    if value not in ("0", "1"):
        raise BadInput(f"expected {name}=0 or {name}=1 in {scheme}://, found {name}={value}")
    return value == "1"


def _open_path(path: Path) -> FrameSource:
    from runtime.camera.image_files import ImageFiles, images_in
    from runtime.camera.video_file import VideoFile

    if path.is_dir():
        return ImageFiles(images_in(path), path.name or str(path))
    if not path.is_file():
        raise BadInput(f"expected {KNOWN}, found no file {str(path)!r}; check the path")
    if path.suffix.lower() in ImageFiles.SUFFIXES:
        return ImageFiles([path], path.name)
    return VideoFile(path)
