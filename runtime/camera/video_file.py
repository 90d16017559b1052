"""A video file, as fast as it can be read. Knows nothing of cameras; FFmpeg inside OpenCV decodes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from runtime.camera.source import Frame, FrameSource, check_pixels
from runtime.errors import BadInput

log = logging.getLogger(__name__)

PATIENCE = 30  # frames in a row that may not decode before the video counts as over: about a second


class VideoFile(FrameSource):
    """Frames of a video file. One that is damaged yields what can be read, then says how much could not."""

    def __init__(self, path: Path):
        """Open the file and read its first frame, so that one without any is refused at once. Raises BadInput."""
        try:
            with open(path, "rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise BadInput(f"expected a readable video, found {path}: {error.strerror}; check the path") from error
        if empty:
            raise BadInput(f"expected a video, found an empty file {path}; copy it again")
        # an absolute path: OpenCV would take `img_%02d.jpg` for a series and `concat:…` for a protocol
        self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if self._capture.isOpened() and width and height:
            check_pixels(width, height, str(path))
        self._first = self._read() if self._capture.isOpened() else None
        if self._first is None:
            self._capture.release()
            raise BadInput(f"expected a video that FFmpeg can decode, found none in {path}; "
                           "it is damaged, cut short or another kind of file")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0 < rate < 1000 else None
        self.name = path.name
        self.size = (self._first.shape[1], self._first.shape[0])
        self.damaged = 0
        self._promised = int(max(0, self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Frame]:
        image, index, read = self._first, 0, 0
        self._first = None  # one pass: a video is a stream here
        while image is not None:
            yield Frame(image, index, index / (self.fps or 25.0))
            read += 1
            image, skipped = self._read_on()
            index += 1 + skipped
        # Some containers only estimate their length, a frame or two too high
        if read < self._promised - max(2, self._promised // 100):
            self.damaged = self._promised - read
            log.warning("%s: %d of %d frames could be read; the file is damaged or cut short",
                        self.name, read, self._promised)

    def _read_on(self) -> tuple[np.ndarray | None, int]:
        """Return the next frame that can be read, and how many before it could not; None at the end."""
        for skipped in range(PATIENCE):
            image = self._read()
            if image is not None:
                return image, skipped
        return None, 0

    def _read(self) -> np.ndarray | None:
        try:
            read, image = self._capture.read()
        except cv2.error:  # a stream that changes its size midway, for one
            return None
        return image if read and image is not None and image.size else None

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()
