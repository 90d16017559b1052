"""Keep OpenCV's and FFmpeg's own chatter off stderr, where a person reads one line a fault.

Knows nothing of sources. libjpeg and libpng write to the descriptor itself and are not silenced.
"""

from __future__ import annotations

import os

import cv2


def quiet_opencv() -> None:
    """Silence both libraries; OPENCV_LOG_LEVEL or OPENCV_FFMPEG_LOGLEVEL in the environment keep what they say."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; OpenCV reads it when it first opens a video
    if "OPENCV_LOG_LEVEL" not in os.environ and hasattr(cv2, "utils"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
