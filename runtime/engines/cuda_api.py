"""What the engine asks of CUDA, and which of two bindings answers: cuda-python where it imports, else pycuda.

cuda-python comes first because pycuda has no CUDA graphs. Knows nothing of TensorRT; the bindings themselves are
imported in one file each, `cuda_python.py` and `cuda_pycuda.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtime.errors import MienError, Unavailable

HOW_TO_GET = ('install NVIDIA\'s driver (JetPack has it) and cuda-python (pip install "mien[jetson]"), or stay on '
              "--target cpu")


@dataclass(frozen=True)
class DeviceFacts:
    """GPU 0: its name, generation (`sm87`), the driver's CUDA (`12.6`), and whether it shares the CPU's memory."""

    name: str
    sm: str
    cuda: str
    integrated: bool


class CudaError(MienError):
    """A call of CUDA failed; the message carries CUDA's own words."""


class Cuda(Protocol):
    """GPU 0 through one binding. Addresses, streams, events and graphs are integers; sizes are bytes.

    Every method but `facts` belongs on the one thread that called `enter`. All raise CudaError.
    """

    binding: str
    has_graphs: bool

    def facts(self) -> DeviceFacts:
        """Ask about the device; needs no context and may be called on any thread."""

    def enter(self) -> None:
        """Make the device's primary context this thread's: the one TensorRT's runtime calls use too."""

    def leave(self) -> None:
        """Give the context back."""

    def check(self) -> None:
        """Wait for everything in the context; raises where the context is broken for good."""

    def allocate_device(self, size: int) -> int:
        """Return the address of device memory, aligned to 256 bytes as TensorRT asks."""

    def free_device(self, address: int) -> None:
        """Free device memory."""

    def allocate_host(self, size: int) -> np.ndarray:
        """Return (size,) uint8 of pinned memory that the device can map."""

    def free_host(self, host: np.ndarray) -> None:
        """Free pinned memory; `host` is what allocate_host returned."""

    def mapped_address(self, host: np.ndarray) -> int:
        """Return the address under which the device sees pinned memory."""

    def create_stream(self) -> int:
        """Return a stream that does not wait for the default one."""

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""

    def copy_in(self, address: int, host: np.ndarray, size: int, stream: int) -> None:
        """Queue a copy of the first bytes of pinned memory to the device."""

    def copy_out(self, host: np.ndarray, address: int, size: int, stream: int) -> None:
        """Queue a copy from the device to the first bytes of pinned memory."""

    def synchronize(self, stream: int) -> None:
        """Sleep until everything queued on a stream is done; a kiosk's core does not spin."""

    def create_event(self) -> int:
        """Return an event that notes the device's time."""

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""

    def record_event(self, event: int, stream: int) -> None:
        """Queue that the event notes the time; it forgets an earlier one."""

    def seconds_between(self, began: int, ended: int) -> float:
        """Return the device's time between two events that have happened."""

    def begin_capture(self, stream: int) -> None:
        """Record what is queued on a stream from now on instead of doing it."""

    def end_capture(self, stream: int) -> int:
        """Stop recording; returns the graph, ready to launch. Ends the recording also where it raises."""

    def launch(self, graph: int, stream: int) -> None:
        """Queue a recorded graph."""

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""


def load_cuda() -> Cuda:
    """Open the driver through the better binding that is here. Raises Unavailable, saying what to install."""
    reasons = []
    try:
        from runtime.engines.cuda_python import CudaPython
        return CudaPython()
    except ImportError as error:
        reasons.append(f"cuda-python: {error}")
    except CudaError as error:
        raise _no_gpu(error) from error
    try:
        from runtime.engines.cuda_pycuda import PyCuda
        return PyCuda()
    except ImportError as error:
        reasons.append(f"pycuda: {error}")
    except CudaError as error:
        raise _no_gpu(error) from error
    raise Unavailable(f"expected cuda-python or pycuda to reach the GPU, found neither ({'; '.join(reasons)}); "
                      f"{HOW_TO_GET}")


def device_facts() -> DeviceFacts:
    """Return what GPU 0 is. Raises Unavailable without a GPU, a driver or a binding, saying what to install."""
    cuda = load_cuda()
    try:
        return cuda.facts()
    except CudaError as error:
        raise _no_gpu(error) from error


def _no_gpu(error: CudaError) -> Unavailable:
    return Unavailable(f"expected an NVIDIA GPU, found none: {error}; {HOW_TO_GET}")
