"""A detector whose engine fails in work is counted and ends the process: the next may find the GPU well, or go lower.

Knows nothing of who starts the next one.
"""

from __future__ import annotations

import numpy as np

from runtime.errors import GpuLost, MienError, RestartNeeded
from runtime.faces.detector import FaceDetector, Faces
from runtime.supervision.fallback import FailureCount


class RestartingDetector:
    """Passes on to a detector, whose failures become RestartNeeded; a lost GPU stays one."""

    def __init__(self, detector: FaceDetector, failures: FailureCount):
        """Take over an open detector; its failures count with those of the engine that reads expressions."""
        self._detector, self._failures, self.name = detector, failures, detector.name

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the faces of a frame, (H, W, 3) BGR uint8. Raises GpuLost, or RestartNeeded for all else."""
        try:
            return self._detector.detect(frame)
        except GpuLost as error:
            self._failures.add(str(error))
            raise
        except MienError as error:  # a graph's outputs that do not fit too: exit 2 would keep a service down
            self._failures.add(str(error))
            raise RestartNeeded(f"{error}; this process ends, for its supervisor to start another") from error

    def close(self) -> None:
        """Close the detector."""
        self._detector.close()
