"""Annotated frames → a video file, under its own name only once it is whole. Knows nothing of what is drawn.

What a killed process leaves of an .avi plays up to what it had written; of an .mp4, whose index comes last, nothing
does, and OpenCV's writer does not take FFmpeg's options for an index in pieces.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import cv2
import numpy as np

from runtime.camera.quiet import quiet_opencv
from runtime.durable import fsync_directory, replacing
from runtime.errors import BadInput, MienError
from runtime.sinks.recordings import in_work, keep, left_behind

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}  # both are inside pip's OpenCV; H.264 encoders are not


class VideoFileWriter:
    """Writes BGR frames; the first one's size is the video's, others are fitted into it between black bars."""

    def __init__(self, path: Path, fps: float, keeps: bool = False):
        """Check the ending (.mp4, .avi) and the folder before any frame is worked on. Raises BadInput.

        keeps: an earlier video of that name stays, and this one's is numbered; without, it is replaced at the end.
        """
        if path.suffix.lower() not in CODECS:
            raise BadInput(f"expected a video name ending in {' or '.join(CODECS)}, found {path}; rename it")
        if path.is_dir():
            raise BadInput(f"expected a file to write the video to, found a folder {path}; choose another name")
        quiet_opencv()
        self._path, self._fps, self._codec, self._keeps = path, fps, CODECS[path.suffix.lower()], keeps
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        try:
            self._temporary = self._stack.enter_context(replacing(path))
            self._stack.enter_context(in_work(self._temporary))
        except OSError as error:
            with suppress(OSError):  # whoever takes no file has none to remove
                self.abandon()
            raise BadInput(f"expected a folder to write {path} into, found: {error.strerror}; "
                           "choose another place") from error
        self._size = (0, 0)
        self.frames = 0

    def write(self, image: np.ndarray) -> None:
        """Append one frame, (H, W, 3) BGR uint8. Raises MienError where no encoder opens."""
        if self._writer is None:
            # 4:2:0 colour needs even sides
            self._size = (max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2))
            code = cv2.VideoWriter.fourcc(*self._codec)
            writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, code, self._fps, self._size)
            if not writer.isOpened():
                raise MienError(f"expected OpenCV to encode {self._codec}, found no encoder; try .avi, or reinstall "
                                "opencv-python-headless")
            self._writer = writer
        self._writer.write(_fitted(image, self._size))
        self.frames += 1

    def finish(self) -> None:
        """Close and rename into place; without a frame no file is left. Raises MienError where the disk was full."""
        if self._writer is None:
            self.abandon()
            return
        self._writer.release()
        if not _readable(self._temporary):
            self.abandon()
            raise MienError(f"expected a whole video in {self._path}, found one cut short; is the disk full?")
        if self._keeps:
            try:
                keep(self._temporary, self._path)
            finally:
                self.abandon()
        else:
            self._stack.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.release()
        with suppress(MienError):  # `replacing` removes its temporary file on an error, and passes the error on
            self._stack.__exit__(MienError, MienError("abandoned"), None)


def recover(path: Path) -> tuple[list[Path], list[Path]]:
    """Name what killed processes left of recordings to `path`; what does not play goes. Return the named, the removed.

    Raises OSError.
    """
    quiet_opencv()
    named, removed = [], []
    with left_behind(path) as found:
        for temporary in found:
            if _readable(temporary):
                named.append(keep(temporary, path))
            else:
                temporary.unlink(missing_ok=True)
                removed.append(temporary)
    if found:
        fsync_directory(path.parent)
    return named, removed


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    if size == (width // 2 * 2, height // 2 * 2):
        return np.ascontiguousarray(image[: size[1], : size[0]])
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, min(size[0], round(width * scale))), max(1, min(size[1], round(height * scale))))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas


def _readable(path: Path) -> bool:
    """OpenCV's writer reports no failed write; a video that opens again and has a frame was finished."""
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        return bool(capture.isOpened() and capture.read()[0])
    finally:
        capture.release()
