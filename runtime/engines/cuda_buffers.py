"""One tensor's memory on both sides of the bus, allocated once: pinned on the host, and where the device works.

On a GPU with memory of its own these are two blocks and a queued copy; on an integrated one they are one block that
both see, and no copy. Knows nothing of TensorRT.
https://docs.nvidia.com/cuda/cuda-for-tegra-appnote/ (memory selection: pinned memory is cached from Xavier on)
"""

from __future__ import annotations

import math
from contextlib import ExitStack

import numpy as np

from runtime.engines.cuda_api import Cuda
from runtime.engines.engine import TensorSpec


class TensorBuffer:
    """Room for `rows` rows of one tensor, whose spec leaves only the first size open.

    host: (rows, *shape) in pinned memory; what stands there belongs to the GPU from a queued run until the stream is
    synchronized. address: where the device sees the tensor.
    """

    def __init__(self, cuda: Cuda, held: ExitStack, rows: int, spec: TensorSpec, mapped: bool):
        """Allocate; `held` frees it. Raises CudaError."""
        self._cuda = cuda
        shape = tuple(size for size in spec.shape[1:] if size is not None)
        self.row_bytes = spec.dtype.itemsize * math.prod(shape)
        size = rows * self.row_bytes
        self._pinned = cuda.allocate_host(size)
        held.callback(cuda.free_host, self._pinned)
        self.host: np.ndarray = self._pinned.view(spec.dtype).reshape(rows, *shape)
        self.mapped = mapped
        if mapped:
            self.address = cuda.mapped_address(self._pinned)
        else:
            self.address = cuda.allocate_device(size)
            held.callback(cuda.free_device, self.address)

    def copy_in(self, rows: int, stream: int) -> None:
        """Queue the first rows to the device."""
        if not self.mapped:
            self._cuda.copy_in(self.address, self._pinned, rows * self.row_bytes, stream)

    def copy_out(self, rows: int, stream: int) -> None:
        """Queue the first rows from the device."""
        if not self.mapped:
            self._cuda.copy_out(self._pinned, self.address, rows * self.row_bytes, stream)
