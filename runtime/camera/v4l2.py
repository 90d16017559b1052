"""What a camera is asked for. Knows nothing of how it is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CameraMode:
    """Pixels and frames a second; 0 leaves a value to the driver, which may answer with its nearest mode."""

    width: int = 0
    height: int = 0
    fps: float = 0


ANY_MODE = CameraMode()
