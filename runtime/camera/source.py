"""What a source of frames is. Knows nothing of cameras, files or faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from runtime.errors import BadInput

MAX_PIXELS = 7680 * 4320  # 8K UHD; a header that says more is forged or a mistake


@dataclass(frozen=True)
class Frame:
    """One picture: image (H, W, 3) BGR uint8, its number from 0, and seconds since the source's first frame.

    captured: time.monotonic() when a live source took it; None where that says nothing, as of a file.
    """

    image: np.ndarray
    index: int
    seconds: float
    captured: float | None = None


@dataclass(frozen=True)
class CameraEvent:
    """What happened to a source, for the log of events: a kind such as `offline`, and facts that JSON can hold.

    seconds: time.monotonic() when it happened. No fact ever holds a credential.
    """

    kind: str
    facts: Mapping[str, str | int | float]
    seconds: float


class FrameSource(ABC):
    """Frames in order, to be iterated once inside a `with`; it keeps its own count of what it could not read.

    A live source never ends by itself, and yields None at least twice a second while it has no fresh usable frame, so
    that its reader can notice a request to stop and tell its watchdog that it lives.
    """

    live: bool = False
    why: str = ""  # a live source brings no frames, for people; never a credential
    still: bool = False  # pictures that have nothing to do with each other: nobody moves from one to the next

    name: str  # for people and events; never a credential
    fps: float | None  # nominal frames a second; None where unknown
    size: tuple[int, int] | None  # (width, height) px; None where frames may differ
    damaged: int  # frames or files that could not be read so far

    @abstractmethod
    def __iter__(self) -> Iterator[Frame | None]:
        """Yield frames until the source ends; None only where `live`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device or file."""

    def happenings(self) -> list[CameraEvent]:
        """Return what happened since last asked, oldest first; the oldest are lost where nobody asks for long."""
        return []

    def counts(self) -> dict[str, int]:
        """Return how often each thing happened so far: damaged frames here; a live source counts more."""
        return {"damaged": self.damaged}

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
