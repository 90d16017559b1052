"""How long the GPU took for what was queued between two marks on a stream, by its own clock.

A time of the device, not of the host: from the first copy in to the last copy out, without what the host did before,
after and while it waited. Without a CUDA graph the gaps count in which the GPU had to wait for the next piece to be
queued. Knows nothing of what was queued.
https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__EVENT.html
"""

from __future__ import annotations

from contextlib import ExitStack

from runtime.engines.cuda_api import Cuda


class DeviceTimer:
    """Two events on one stream, made once and recorded again for each run."""

    def __init__(self, cuda: Cuda, held: ExitStack, stream: int):
        """Make the events; `held` destroys them. Raises CudaError."""
        self._cuda, self._stream = cuda, stream
        self._began, self._ended = self._make_event(held), self._make_event(held)

    def start(self) -> None:
        """Queue the first mark. Never while the stream records: a time belongs to one run, a graph to many."""
        self._cuda.record_event(self._began, self._stream)

    def stop(self) -> None:
        """Queue the second mark."""
        self._cuda.record_event(self._ended, self._stream)

    def seconds(self) -> float:
        """Return the time between the marks, to about half a microsecond, once the stream is synchronized."""
        return self._cuda.seconds_between(self._began, self._ended)

    def _make_event(self, held: ExitStack) -> int:
        event = self._cuda.create_event()
        held.callback(self._cuda.destroy_event, event)
        return event
