"""OpenCV's frontal-face Haar cascade: the face detector that needs no model file.

Viola and Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001. Knows no landmarks and
no probabilities, and misses turned heads; YuNet finds those.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from runtime.errors import Unavailable
from runtime.faces.detector import Faces, check_frame, keep_largest

# Of OpenCV's frontal cascades and these settings, measured on 99 head shots pasted into 640×480 photographs, YuNet
# being the judge: alt2, step 1.2, 3 neighbours, no equalization found 95 with 2 false boxes; the default
# cascade with 5 neighbours found 93 with 4 in 1.6 times the time; step 1.1 found 98 with 7 in 1.7 times the time.
CASCADE = "haarcascade_frontalface_alt2.xml"
SCALE_STEP = 1.2
NEIGHBOURS = 3  # overlapping hits a face needs
# Where Debian's and JetPack's own OpenCV 4 packages put the cascades; pip's wheel names its folder in cv2.data
SYSTEM_FOLDERS = (Path("/usr/share/opencv4/haarcascades"), Path("/usr/share/opencv/haarcascades"))
WORKING_SIDE = 320  # px of the longer side searched; 400 found no more and took longer
SMALLEST = 20  # px; the window the cascade was trained on
SMALLEST_SHARE = 1 / 8  # of the shorter side: a kiosk's visitor is nearer, and smaller windows are mostly noise


class HaarDetector:
    """Finds upright frontal faces on the CPU.

    A frame is searched at `scale` times its size, so cost is bounded whatever the camera; boxes are in its pixels.
    A score is n / (n + 3) of n overlapping hits: an order, not a probability.
    """

    name = "haar"

    def __init__(self, max_faces: int = 8):
        """Load the cascade that came with OpenCV. Raises Unavailable."""
        if not hasattr(cv2, "CascadeClassifier"):
            raise Unavailable(f"expected an OpenCV with Haar cascades, found OpenCV {cv2.__version__}; "
                              "pip install 'opencv-python-headless<5', or use the shipped detector (--faces mien-face)")
        self._cascade = cv2.CascadeClassifier(str(_cascade_file()))
        if self._cascade.empty():
            raise Unavailable(f"expected a Haar cascade in {_cascade_file()}, found another file; reinstall OpenCV")
        self._max_faces = max_faces
        self.scale = 1.0  # of the last frame

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the largest faces of a frame, (H, W, 3) BGR uint8; landmarks are None. Raises BadInput."""
        check_frame(frame)
        height, width = frame.shape[:2]
        self.scale = min(1.0, WORKING_SIDE / max(height, width))
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if self.scale < 1:
            size = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        least = max(SMALLEST, round(min(grey.shape) * SMALLEST_SHARE))
        if min(grey.shape) < least:
            return Faces.none()
        boxes, hits = self._cascade.detectMultiScale2(
            grey, SCALE_STEP, NEIGHBOURS, minSize=(least, least))
        if len(boxes) == 0:
            return Faces.none()
        counts = np.asarray(hits, np.float32).reshape(-1)
        found = Faces(np.asarray(boxes, np.float32) / self.scale, None, counts / (counts + NEIGHBOURS))
        return keep_largest(found, (width, height), self._max_faces)

    def close(self) -> None:
        """Nothing is held open."""


def _cascade_file() -> Path:
    folders = (Path(cv2.data.haarcascades), *SYSTEM_FOLDERS) if hasattr(cv2, "data") else SYSTEM_FOLDERS
    for folder in folders:
        if (folder / CASCADE).is_file():
            return folder / CASCADE
    raise Unavailable(f"expected {CASCADE} in {', '.join(map(str, folders))}, found none; "
                      "pip install 'opencv-python-headless<5', or use the shipped detector (--faces mien-face)")
