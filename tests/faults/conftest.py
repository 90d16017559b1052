"""A camera that a test may stall, cut and kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_camera import FifoCamera


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[FifoCamera]:
    """Pictures through a FIFO, closed afterwards."""
    camera = FifoCamera(tmp_path / "camera")
    yield camera
    camera.close()
