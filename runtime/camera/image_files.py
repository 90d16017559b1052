"""Image files as frames: a folder in natural order, or a single one. Knows nothing of videos or cameras."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from runtime.camera.image_header import read_header
from runtime.camera.source import Frame, FrameSource, check_pixels
from runtime.errors import BadInput

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 256 << 20  # an 8K frame, uncompressed, is 100 MB
NAMED = 5  # damaged files named one by one; the rest are counted


def images_in(folder: Path) -> list[Path]:
    """Return a folder's images in natural order (frame2 before frame10). Raises BadInput where there is none."""
    try:
        paths = [p for p in folder.iterdir() if p.suffix.lower() in ImageFiles.SUFFIXES and p.is_file()]
    except OSError as error:
        raise BadInput(f"expected a readable folder, found {folder}: {error.strerror}; check its rights") from error
    if not paths:
        raise BadInput(f"expected images ({' '.join(ImageFiles.SUFFIXES)}) in the folder {folder}, found none")
    return sorted(paths, key=lambda p: natural_order(p.name))


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key in which runs of digits count as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [(0, int(p), p) if p[0].isdecimal() else (1, 0, p) for p in parts] + [(-1, 0, name)]


def read_image(path: Path) -> np.ndarray:
    """Decode one file to (H, W, 3) BGR uint8; size and completeness are checked before decoding. Raises BadInput."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"expected an image of at most {MAX_FILE_BYTES} bytes, found more in {path}")
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"expected a readable image, found {path}: {error.strerror}") from error
    header = read_header(content)
    if header is None:
        raise BadInput(f"expected a whole PNG, JPEG or BMP image, found other bytes in {path}; copy it again")
    check_pixels(header.width, header.height, str(path))
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if header.whole else None
    except cv2.error:
        image = None
    if image is None:
        raise BadInput(f"expected a whole image, found one cut short or damaged in {path}; copy it again")
    return image


class ImageFiles(FrameSource):
    """Frames from image files, nominally ten a second; a damaged one is named, counted and skipped."""

    SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

    def __init__(self, paths: Sequence[Path], name: str):
        """Take the files in the order given. Iterating raises BadInput when not one of them can be read."""
        self._paths = paths
        self.name = name
        self.fps = 10.0
        self.still = True
        self.size = None
        self.damaged = 0

    def __iter__(self) -> Iterator[Frame]:
        reason, index = None, 0
        for path in self._paths:
            try:
                image = read_image(path)
            except BadInput as error:
                self.damaged += 1
                reason = reason or error
                if self.damaged <= NAMED and len(self._paths) > 1:
                    log.warning("%s (skipped)", error)
                continue
            yield Frame(image, index, index / 10.0)
            index += 1
        if reason and not index:
            raise reason if len(self._paths) == 1 else BadInput(
                f"expected images in {self.name}, found all {self.damaged} damaged; copy them again")
        if self.damaged > NAMED:
            log.warning("%s: %d of %d images are damaged and were skipped", self.name, self.damaged, len(self._paths))

    def close(self) -> None:
        """Nothing is held open."""
