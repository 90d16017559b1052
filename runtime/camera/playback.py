"""A finite source played as a camera would show it: in real time, or over and over. Knows nothing of files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from runtime.camera.source import Frame, FrameSource

USUAL_FPS = 25.0  # of a source that knows no rate


class Playback(FrameSource):
    """Opens a source again for each round. Frame numbers and seconds go on over the rounds."""

    def __init__(self, open_again: Callable[[], FrameSource], paced: bool, loop: bool):
        """Open the first round. Paced: a frame comes when it is due, and one that a newer one overtook is dropped."""
        self._open_again, self._paced, self._loop = open_again, paced, loop
        self._source = open_again()
        self.name, self.fps, self.size = self._source.name, self._source.fps, self._source.size
        self.still = self._source.still
        self._damaged_before = self._dropped = 0

    @property
    def damaged(self) -> int:  # type: ignore[override]
        """Frames or files that could not be read so far, over all rounds."""
        return self._damaged_before + self._source.damaged

    def counts(self) -> dict[str, int]:
        """Return the damaged and the dropped so far."""
        return {"damaged": self.damaged, "dropped": self._dropped}

    def __iter__(self) -> Iterator[Frame]:
        step = 1 / (self.fps or USUAL_FPS)
        start, index, offset = time.monotonic(), 0, 0.0
        while True:
            first, seconds = index, offset
            for frame in self._source:
                if frame is None:
                    continue
                index, seconds = first + frame.index + 1, offset + frame.seconds
                if self._paced:
                    late = time.monotonic() - start - seconds
                    if late > step:
                        self._dropped += 1
                        continue
                    time.sleep(max(0.0, -late))
                yield Frame(frame.image, index - 1, seconds)
            if not self._loop or index == first:  # a round without a frame would go round for ever
                return
            offset = seconds + step
            damaged = self.damaged
            self._source.close()
            self._source = self._open_again()
            self._damaged_before = damaged - self._source.damaged

    def close(self) -> None:
        """Close the round that is open."""
        self._source.close()
