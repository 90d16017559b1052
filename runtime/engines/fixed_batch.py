"""One batch size of a TensorRT engine: an execution context bound once, run plainly, then replayed as a CUDA graph.

A context of its own for each size, because a graph holds the context's state of when it was recorded: a shape changed
afterwards leaves the graph undefined (TensorRT developer guide, "CUDA graphs"). Knows nothing of other batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from runtime.engines.cuda_api import Cuda, CudaError
from runtime.engines.cuda_buffers import TensorBuffer
from runtime.engines.device_timer import DeviceTimer
from runtime.errors import MienError


class FixedBatch:
    """Runs `rows` rows that stand in the inputs' pinned memory into the outputs' pinned memory."""

    def __init__(self, cuda: Cuda, stream: int, context: Any, rows: int, inputs: dict[str, TensorBuffer],
                 outputs: dict[str, TensorBuffer], timer: DeviceTimer, fail: Callable[[str], MienError]):
        """Bind a fresh context to its shape and addresses. `fail` makes an error with TensorRT's words; raised here."""
        self._cuda, self._stream, self._rows, self._timer, self._fail = cuda, stream, rows, timer, fail
        self._inputs, self._outputs = list(inputs.values()), list(outputs.values())
        self._context = context
        self._held = ExitStack()
        self._graph: int | None = None
        self._may_record = cuda.has_graphs
        bound = [context.set_input_shape(name, (rows, *buffer.host.shape[1:])) for name, buffer in inputs.items()]
        bound += [context.set_tensor_address(name, b.address) for name, b in (inputs | outputs).items()]
        if not all(bound):
            raise fail(f"take a batch of {rows}")

    @property
    def is_graph(self) -> bool:
        """Is the next run a CUDA graph's?"""
        return self._graph is not None

    def run(self) -> float:
        """Run and wait; returns the seconds that the GPU took. Raises CudaError, MienError."""
        self._timer.start()
        if self._graph is None:
            self._queue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._timer.stop()
        self._cuda.synchronize(self._stream)
        seconds = self._timer.seconds()
        if self._may_record:
            self._may_record = False
            with suppress(CudaError):  # this run went well, and without a graph the next ones will
                self._record()
        return seconds

    def close(self) -> None:
        """Destroy the graph, then the context it was recorded from."""
        self._graph = None
        self._held.close()
        self._context = None

    def _queue(self) -> None:
        for buffer in self._inputs:
            buffer.copy_in(self._rows, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise self._fail(f"run a batch of {self._rows}")
        for buffer in self._outputs:
            buffer.copy_out(self._rows, self._stream)

    def _record(self) -> None:
        """Record a run that already went well once: the first one allocates and compiles, which a recording may not.

        What cannot be recorded runs on without a graph; RTX's contexts say so beforehand.
        """
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self._stream):
            return
        self._cuda.begin_capture(self._stream)
        try:
            self._queue()
        except MienError:
            self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
        else:
            self._graph = self._cuda.end_capture(self._stream)
            self._held.callback(self._cuda.destroy_graph, self._graph)
