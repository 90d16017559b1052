"""CUDA through pycuda, which compiles against the toolkit that is there (JetPack has it): its only importer.

Has no CUDA graphs. Knows nothing of threads: `cuda_thread.py` keeps its calls on one.
https://documen.tician.de/pycuda/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pycuda
import pycuda.driver as driver

from runtime.engines.cuda_api import CudaError, DeviceFacts

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING in cuda.h; pycuda has no name for it


class PyCuda:
    """GPU 0 through pycuda; see `Cuda`. Its objects free themselves when forgotten, so they are kept by address."""

    has_graphs = False

    def __init__(self) -> None:
        """Open the driver. Raises CudaError where there is no GPU."""
        self.binding = f"pycuda {pycuda.VERSION_TEXT}"
        _ask(driver.init)
        self._device = _ask(driver.Device, 0)
        self._context: Any = None
        self._waiter: Any = None
        self._blocks: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    def facts(self) -> DeviceFacts:
        """Ask about the device."""
        major, minor = _ask(self._device.compute_capability)
        version = _ask(driver.get_driver_version)  # 12060 is 12.6
        integrated = _ask(self._device.get_attribute, driver.device_attribute.INTEGRATED)
        return DeviceFacts(_ask(self._device.name), f"sm{major}{minor}",
                           f"{version // 1000}.{version % 1000 // 10}", bool(integrated))

    def enter(self) -> None:
        """Make the primary context this thread's."""
        self._context = _ask(self._device.retain_primary_context)
        _ask(self._context.push)
        self._waiter = _ask(driver.Event, driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING)

    def leave(self) -> None:
        """Give the primary context back."""
        self._waiter = None
        _ask(driver.Context.pop)
        _ask(self._context.detach)
        self._context = None

    def check(self) -> None:
        """Wait for the whole context."""
        _ask(driver.Context.synchronize)

    def allocate_device(self, size: int) -> int:
        """Allocate device memory."""
        block = _ask(driver.mem_alloc, size)
        self._blocks[int(block)] = block
        return int(block)

    def free_device(self, address: int) -> None:
        """Free device memory."""
        _ask(self._blocks.pop(address).free)

    def allocate_host(self, size: int) -> np.ndarray:
        """Allocate pinned memory."""
        host: np.ndarray = _ask(driver.pagelocked_empty, size, np.uint8, mem_flags=driver.host_alloc_flags.DEVICEMAP)
        return host

    def free_host(self, host: np.ndarray) -> None:
        """Free pinned memory."""
        _ask(_allocation(host).free)

    def mapped_address(self, host: np.ndarray) -> int:
        """Return where the device sees pinned memory."""
        return int(_ask(_allocation(host).get_device_pointer))

    def create_stream(self) -> int:
        """Create a stream."""
        stream = _ask(driver.Stream, _NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream, which pycuda does when it is forgotten."""
        del self._streams[stream]

    def copy_in(self, address: int, host: np.ndarray, size: int, stream: int) -> None:
        """Queue a copy to the device."""
        _ask(driver.memcpy_htod_async, address, host[:size], self._streams[stream])

    def copy_out(self, host: np.ndarray, address: int, size: int, stream: int) -> None:
        """Queue a copy from the device."""
        _ask(driver.memcpy_dtoh_async, host[:size], address, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        """Wait for a stream through an event that sleeps: pycuda cannot tell its context to."""
        _ask(self._waiter.record, self._streams[stream])
        _ask(self._waiter.synchronize)

    def create_event(self) -> int:
        """Create an event; pycuda does not tell its handle."""
        event = _ask(driver.Event)
        self._events[id(event)] = event
        return id(event)

    def destroy_event(self, event: int) -> None:
        """Destroy an event, which pycuda does when it is forgotten."""
        del self._events[event]

    def record_event(self, event: int, stream: int) -> None:
        """Queue an event."""
        _ask(self._events[event].record, self._streams[stream])

    def seconds_between(self, began: int, ended: int) -> float:
        """Ask for the time between two events, which pycuda tells in milliseconds."""
        return float(_ask(self._events[began].time_till, self._events[ended])) / 1000

    def begin_capture(self, stream: int) -> None:
        """Refuse: pycuda has no CUDA graphs."""
        raise CudaError("expected a binding with CUDA graphs, found pycuda; pip install cuda-python")

    def end_capture(self, stream: int) -> int:
        """Refuse."""
        raise CudaError("expected a recording, found pycuda, which has none")

    def launch(self, graph: int, stream: int) -> None:
        """Refuse."""
        raise CudaError("expected a CUDA graph, found pycuda, which has none")

    def destroy_graph(self, graph: int) -> None:
        """Refuse."""
        raise CudaError("expected a CUDA graph, found pycuda, which has none")


def _allocation(host: np.ndarray) -> Any:
    """The pycuda object behind a pinned array."""
    return host.base


def _ask(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call pycuda. Raises CudaError with CUDA's own words."""
    try:
        return function(*arguments, **named)
    except driver.Error as error:
        raise CudaError(f"expected CUDA to do its work, found {' '.join(str(error).split())}") from error
