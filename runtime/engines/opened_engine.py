"""The half of a TensorRT engine that lives on the CUDA thread: the deserialized engine, its buffers, its batch sizes.

Everything here, construction and close included, is called on that thread only. Memory is allocated once, for the
largest batch of the engine's profile. Knows nothing of threads, nor what a caller may pass: `tensorrt_engine.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np

from runtime.engines.cuda_api import Cuda
from runtime.engines.cuda_buffers import TensorBuffer
from runtime.engines.device_timer import DeviceTimer
from runtime.engines.fixed_batch import FixedBatch
from runtime.engines.io_tensors import padded_batch, read_io_tensors
from runtime.engines.jit_kernels import KernelFile
from runtime.errors import BadModel, MienError

# How TensorRT's log words an allocation that failed: the engine is as good as before
_NO_MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)


class OpenEngine:
    """A deserialized engine that runs batches: `tensors` says of what, `sizes_run` in which sizes it has done so.

    device_seconds: what the GPU took for the latest run, all its parts together; None before the first.
    """

    def __init__(self, cuda: Cuda, library: ModuleType, logger: Any, content: bytes, name: str, largest: int,
                 zero_copy: bool | None, kernels: KernelFile | None):
        """Deserialize and allocate; what fails frees what was there. Raises BadModel, CudaError, MienError."""
        self._cuda, self._library, self._logger, self._kernel_file = cuda, library, logger, kernels
        self.batches: dict[int, FixedBatch] = {}
        self.sizes_run: set[int] = set()
        self.device_seconds: float | None = None
        self._held: ExitStack | None = None
        with ExitStack() as held:
            held.callback(self._forget_engine)
            logger.problems.clear()  # all engines share the logger: what another one met is not this one's reason
            self._runtime: Any = library.Runtime(logger)
            self._engine: Any = self._runtime.deserialize_cuda_engine(content)
            if self._engine is None and _NO_MEMORY.search(self._words()):
                raise MienError(f"expected free memory on the GPU for {name}, found: {self._words()}; stop what else "
                                "uses the GPU, and try again")
            if self._engine is None:
                raise BadModel(f"expected an engine that TensorRT {library.__version__} loads on this GPU, found "
                               f"{name}: {self._words()}; build it again on this machine")
            self.tensors = read_io_tensors(library, self._engine, name)
            if self.tensors.largest < largest:
                raise BadModel(f"expected an engine for batches of up to {largest}, found one for up to "
                               f"{self.tensors.largest}: {name}; build it again")
            self._stream = cuda.create_stream()
            held.callback(cuda.destroy_stream, self._stream)
            self._timer = DeviceTimer(cuda, held, self._stream)
            self._allocate(held, cuda.facts().integrated if zero_copy is None else zero_copy)
            held.callback(self._forget_config)
            self._configure()
            held.callback(self._close_batches)
            held.callback(cuda.synchronize, self._stream)  # the first to happen: nothing is freed while in use
            self._held = held.pop_all()

    def run(self, arrays: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        """Run `rows` rows of every input, in parts where the profile is smaller; returns every output."""
        if self._held is None:
            raise MienError("expected an open engine, found a closed one")
        self._logger.problems.clear()  # else months of warnings
        results = {spec.name: np.empty((rows, *self._buffers[spec.name].host.shape[1:]), spec.dtype)
                   for spec in self.tensors.outputs}
        seconds = 0.0
        for start in range(0, rows, self.tensors.largest):
            stop = min(start + self.tensors.largest, rows)
            size = padded_batch(stop - start, self.tensors.smallest, self.tensors.largest)
            for spec in self.tensors.inputs:
                host = self._buffers[spec.name].host
                host[: stop - start] = arrays[spec.name][start:stop]
                host[stop - start : size] = 0
            seconds += self._batch_of(size).run()
            for name, result in results.items():
                result[start:stop] = self._buffers[name].host[: stop - start]
            if size not in self.sizes_run:
                self.sizes_run.add(size)
                self._keep_kernels()
        self.device_seconds = seconds
        return results

    def close(self) -> None:
        """Free everything in the reverse order of allocation; a second time does nothing."""
        if self._held is not None:
            held, self._held = self._held, None
            held.close()

    def _allocate(self, held: ExitStack, mapped: bool) -> None:
        self._buffers = {spec.name: TensorBuffer(self._cuda, held, self.tensors.largest, spec, mapped)
                         for spec in self.tensors.all}
        # Batches run one after the other, so the contexts of all sizes can share what a context computes in
        self._memory_bytes = max(1, self._engine.device_memory_size_v2)
        self._memory = self._cuda.allocate_device(self._memory_bytes)
        held.callback(self._cuda.free_device, self._memory)

    def _configure(self) -> None:
        """Say how contexts are made: in our memory, and in RTX with kernels that a recording may keep."""
        library = self._library
        strategy = library.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context_config: Any = strategy
        self._kernels: Any = None
        self._kernels_kept: bytes | None = None
        if not hasattr(library, "IRuntimeCache"):  # TensorRT compiles nothing while it runs
            return
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        # LAZY would put fallback kernels into a recording, which then never sees the better ones
        config.dynamic_shapes_kernel_specialization_strategy = library.DynamicShapesKernelSpecializationStrategy.EAGER
        self._context_config = config
        if self._kernel_file is not None:
            self._kernels = config.create_runtime_cache()
            found = self._kernel_file.load()
            if found is not None and self._kernels.deserialize(found):
                self._kernels_kept = found
            config.set_runtime_cache(self._kernels)

    def _batch_of(self, size: int) -> FixedBatch:
        if size not in self.batches:
            context = self._engine.create_execution_context(self._context_config)
            if context is None:
                raise self._failure("make an execution context")
            context.set_device_memory(self._memory, self._memory_bytes)
            inputs, outputs = ({spec.name: self._buffers[spec.name] for spec in specs}
                               for specs in (self.tensors.inputs, self.tensors.outputs))
            self.batches[size] = FixedBatch(self._cuda, self._stream, context, size, inputs, outputs, self._timer,
                                            self._failure)
        return self.batches[size]

    def _keep_kernels(self) -> None:
        """Write the JIT kernels to their file where a first run compiled new ones; a kiosk may never close."""
        if self._kernels is None or self._kernel_file is None:
            return
        kernels = bytes(self._kernels.serialize())
        if kernels != self._kernels_kept:
            self._kernel_file.save(kernels)
            self._kernels_kept = kernels

    def _failure(self, what: str) -> MienError:
        return MienError(f"expected TensorRT {self._library.__version__} to {what}, found: {self._words()}")

    def _words(self) -> str:
        """The last of what the library said, on one line."""
        return "; ".join(self._logger.problems[-3:]) or "no reason given"

    def _close_batches(self) -> None:
        for batch in self.batches.values():
            batch.close()
        self.batches.clear()

    def _forget_config(self) -> None:
        """Drop how contexts were made; the bindings destroy what nothing refers to."""
        self._context_config = self._kernels = None

    def _forget_engine(self) -> None:
        """Drop the engine, then the runtime that made it."""
        self._engine = None
        self._runtime = None
