"""One JPEG → BGR, or nothing where it is damaged: its header is judged before anything is allocated for it.

libjpeg fills what is missing with grey and writes one line to stderr; OpenCV passes neither on (4.10 takes 197 of 200
truncated pictures, 4.14 none of 200). So the capture process gives itself a stderr that it can look at, and a picture
about which the decoder said anything is damaged. A flipped bit that leaves a legal scan is not found, by anyone.
"""

from __future__ import annotations

import contextlib
import os

import cv2
import numpy as np

from runtime.camera.image_header import read_header
from runtime.camera.ring import SLOT_BYTES

STDERR = 2


class Complaints:
    """What libraries of C wrote to stderr, where that is a file of this process's own; else nothing is ever heard."""

    def __init__(self, handle: int = STDERR):
        """Listen to a descriptor."""
        self._handle = handle

    def any(self) -> bool:
        """Return whether anything was written since last asked, and forget it."""
        heard = os.fstat(self._handle).st_size > 0
        if heard:
            with contextlib.suppress(OSError):  # a terminal cannot be emptied
                os.ftruncate(self._handle, 0)
        return heard


def decode_jpeg(content: bytes, complaints: Complaints) -> np.ndarray | None:
    """Return a JPEG as (H, W, 3) BGR uint8; None where it is damaged, or larger than a slot of the ring holds."""
    header = read_header(content)
    if header is None or not header.whole or not 0 < header.width * header.height * 3 <= SLOT_BYTES:
        return None
    complaints.any()
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if complaints.any() else image
