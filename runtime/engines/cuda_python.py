"""CUDA through cuda-python, NVIDIA's own binding of the driver API: the only file that imports `cuda`.

The one of the two bindings with CUDA graphs. Knows nothing of threads: `cuda_thread.py` keeps its calls on one.
https://docs.nvidia.com/cuda/cuda-driver-api/
"""

from __future__ import annotations

import ctypes
from typing import Any

import cuda.bindings
import numpy as np
from cuda.bindings import driver

from runtime.engines.cuda_api import CudaError, DeviceFacts

# Names of cuda.h; the binding's enums are looked up by name, because numbers differ between versions
_DEVICE_MAP, _NON_BLOCKING, _SLEEP = (
    driver.CU_MEMHOSTALLOC_DEVICEMAP, driver.CUstream_flags.CU_STREAM_NON_BLOCKING,
    driver.CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC)
# Another thread's allocations (PyTorch's, say) must not spoil a recording
_THREAD_LOCAL = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class CudaPython:
    """GPU 0 through cuda-python; see `Cuda`."""

    has_graphs = True

    def __init__(self) -> None:
        """Open the driver. Raises CudaError where there is no driver or no GPU."""
        self.binding = f"cuda-python {cuda.bindings.__version__}"
        _ask(driver.cuInit, 0)
        self._device = _ask(driver.cuDeviceGet, 0)

    def facts(self) -> DeviceFacts:
        """Ask about the device."""
        attribute = driver.CUdevice_attribute
        major, minor, integrated = (_ask(driver.cuDeviceGetAttribute, a, self._device) for a in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED))
        version = _ask(driver.cuDriverGetVersion)  # 12060 is 12.6
        name = _ask(driver.cuDeviceGetName, 256, self._device).split(b"\0")[0].decode(errors="replace")
        return DeviceFacts(name, f"sm{major}{minor}", f"{version // 1000}.{version % 1000 // 10}", bool(integrated))

    def enter(self) -> None:
        """Make the primary context this thread's; waiting in it sleeps instead of spinning."""
        _ask(driver.cuDevicePrimaryCtxSetFlags, self._device, _SLEEP)
        _ask(driver.cuCtxSetCurrent, _ask(driver.cuDevicePrimaryCtxRetain, self._device))

    def leave(self) -> None:
        """Give the primary context back."""
        _ask(driver.cuCtxSetCurrent, driver.CUcontext(0))
        _ask(driver.cuDevicePrimaryCtxRelease, self._device)

    def check(self) -> None:
        """Wait for the whole context."""
        _ask(driver.cuCtxSynchronize)

    def allocate_device(self, size: int) -> int:
        """Allocate device memory."""
        return int(_ask(driver.cuMemAlloc, size))

    def free_device(self, address: int) -> None:
        """Free device memory."""
        _ask(driver.cuMemFree, address)

    def allocate_host(self, size: int) -> np.ndarray:
        """Allocate pinned memory."""
        address = int(_ask(driver.cuMemHostAlloc, size, _DEVICE_MAP))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_host(self, host: np.ndarray) -> None:
        """Free pinned memory."""
        _ask(driver.cuMemFreeHost, host.ctypes.data)

    def mapped_address(self, host: np.ndarray) -> int:
        """Return where the device sees pinned memory."""
        return int(_ask(driver.cuMemHostGetDevicePointer, host.ctypes.data, 0))

    def create_stream(self) -> int:
        """Create a stream."""
        return int(_ask(driver.cuStreamCreate, _NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        _ask(driver.cuStreamDestroy, stream)

    def copy_in(self, address: int, host: np.ndarray, size: int, stream: int) -> None:
        """Queue a copy to the device."""
        _ask(driver.cuMemcpyHtoDAsync, address, host.ctypes.data, size, stream)

    def copy_out(self, host: np.ndarray, address: int, size: int, stream: int) -> None:
        """Queue a copy from the device."""
        _ask(driver.cuMemcpyDtoHAsync, host.ctypes.data, address, size, stream)

    def synchronize(self, stream: int) -> None:
        """Wait for a stream."""
        _ask(driver.cuStreamSynchronize, stream)

    def create_event(self) -> int:
        """Create an event."""
        return int(_ask(driver.cuEventCreate, driver.CUevent_flags.CU_EVENT_DEFAULT))

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""
        _ask(driver.cuEventDestroy, event)

    def record_event(self, event: int, stream: int) -> None:
        """Queue an event."""
        _ask(driver.cuEventRecord, event, stream)

    def seconds_between(self, began: int, ended: int) -> float:
        """Ask for the time between two events, which CUDA tells in milliseconds."""
        return float(_ask(driver.cuEventElapsedTime, began, ended)) / 1000

    def begin_capture(self, stream: int) -> None:
        """Start recording."""
        _ask(driver.cuStreamBeginCapture, stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """Stop recording and make the graph executable."""
        graph = _ask(driver.cuStreamEndCapture, stream)
        try:
            return int(_ask(driver.cuGraphInstantiate, graph, 0))
        finally:
            _ask(driver.cuGraphDestroy, graph)

    def launch(self, graph: int, stream: int) -> None:
        """Queue a graph."""
        _ask(driver.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""
        _ask(driver.cuGraphExecDestroy, graph)


def _ask(function: Any, *arguments: Any) -> Any:
    """Call the driver and return its one result. Raises CudaError with CUDA's own words."""
    try:
        status, *results = function(*arguments)
    except RuntimeError as error:  # there is no driver here, or one older than the binding, without this function
        raise CudaError(" ".join(str(error).split())) from error
    if status != driver.CUresult.CUDA_SUCCESS:
        _, words = driver.cuGetErrorString(status)
        raise CudaError(f"expected {function.__name__} to succeed, found {status.name}: "
                        f"{(words or b'').decode(errors='replace')}")
    return results[0] if results else None
