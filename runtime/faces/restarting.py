"""A detector whose engine fails in work ends the process: a new one may find the GPU well, or runs on the CPU.

Knows nothing of who starts the next one.
"""

from __future__ import annotations

import numpy as np

from runtime.errors import BadInput, GpuLost, MienError, RestartNeeded
from runtime.faces.detector import FaceDetector, Faces


class RestartingDetector:
    """Passes on to a detector, whose failures become RestartNeeded; a lost GPU and a wrong frame stay what they are."""

    def __init__(self, detector: FaceDetector):
        """Take over an open detector."""
        self._detector, self.name = detector, detector.name

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the faces of a frame, (H, W, 3) BGR uint8. Raises BadInput, GpuLost, RestartNeeded."""
        try:
            return self._detector.detect(frame)
        except (BadInput, GpuLost):
            raise
        except MienError as error:
            raise RestartNeeded(f"{error}; this process ends, for its supervisor to start another") from error

    def close(self) -> None:
        """Close the detector."""
        self._detector.close()
