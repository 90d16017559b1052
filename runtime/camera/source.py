"""What a source of frames is. Knows nothing of cameras, files or faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from runtime.errors import BadInput

MAX_PIXELS = 7680 * 4320  # 8K UHD; a header that says more is forged or a mistake


@dataclass(frozen=True)
class Frame:
    """One picture: image (H, W, 3) BGR uint8, its number from 0, and seconds since the source's first frame."""

    image: np.ndarray
    index: int
    seconds: float


class FrameSource(ABC):
    """Frames in order, to be iterated once inside a `with`; it keeps its own count of what it could not read."""

    name: str  # for people and events; never a credential
    fps: float | None  # nominal frames a second; None where unknown
    size: tuple[int, int] | None  # (width, height) px; None where frames may differ
    damaged: int  # frames or files that could not be read so far

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends. Raises Unavailable when a camera goes away."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device or file."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse dimensions of nothing, or of more than 8K, before they are allocated. Raises BadInput."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise BadInput(f"expected frames of 1–{MAX_PIXELS} pixels, found {width}×{height} in {name}; make them smaller")
