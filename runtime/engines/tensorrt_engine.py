"""Runs an engine of TensorRT or TensorRT-RTX: named arrays in, named arrays out, on the GPU that is here.

One code path for TensorRT ≥ 10.1 and TensorRT-RTX 1.x. May be called from any thread: the work is handed to the one
that owns the CUDA context (`cuda_thread.py`). Knows nothing of faces, nor where engines come from: whoever passes bytes
has checked their seal, for an engine is executable code.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from runtime.engines.cuda_thread import CudaThread, shared_cuda_thread
from runtime.engines.io_tensors import padded_batch
from runtime.engines.jit_kernels import KernelFile
from runtime.engines.opened_engine import OpenEngine
from runtime.engines.tensorrt_api import load_compiler, runtime_logger
from runtime.errors import BadInput, BadModel, Unavailable

# Seconds of silence after which a GPU counts as lost. A batch takes milliseconds; the first one of a size, which loads
# and compiles kernels, may take as long as it needs
PATIENCE = 30.0


class TensorRTEngine:
    """An engine on the GPU. A batch runs as the next power of two; the first of each size is recorded, if it can be."""

    def __init__(self, content: bytes, name: str, precision: str, target: str,
                 batches: tuple[int, int, int] = (1, 4, 64), *, kernels: KernelFile | None = None,
                 zero_copy: bool | None = None, thread: CudaThread | None = None):
        """Open verified engine bytes; `name` stands in errors.

        batches: smallest, usual and largest that it is to take. kernels: where TensorRT-RTX's JIT kernels
        are kept, if anywhere. zero_copy: None asks the GPU (integrated ones share memory).
        Raises BadModel (damaged, of another version or GPU, a smaller profile), Unavailable, MienError.
        """
        self.target, self.precision, self.compiled_sha256 = target, precision, hashlib.sha256(content).hexdigest()
        library = load_compiler(target)
        logger = runtime_logger(library)
        _refuse_unreadable(library, logger, content, name)
        self._thread = thread or shared_cuda_thread()
        cuda = self._thread.cuda
        self._opened = self._thread.call(
            lambda: OpenEngine(cuda, library, logger, content, name, batches[2], zero_copy, kernels))
        # An engine that is forgotten is closed too, and on its own thread: a garbage collection runs on any
        weakref.finalize(self, self._thread.call_later, self._opened.close).atexit = False
        self._tensors = self._opened.tensors
        self.inputs, self.outputs = self._tensors.inputs, self._tensors.outputs

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; a batch above the profile's largest is split, others are padded with zeros and the results cut.

        Returns arrays of the caller's own. Raises BadInput for arrays that do not fit, GpuLost, MienError.
        """
        rows = self._count_rows(arrays)
        largest = self._tensors.largest
        sizes = {padded_batch(min(rows - start, largest), self._tensors.smallest, largest)
                 for start in range(0, rows, largest)}
        patience = PATIENCE if sizes <= self._opened.sizes_run else None
        return self._thread.call(lambda: self._opened.run(arrays, rows), patience)

    def close(self) -> None:
        """Free everything, in the reverse order of allocation; what a lost GPU holds goes with the process."""
        if self._thread.lost is None:
            self._thread.call(self._opened.close)

    @property
    def last_device_seconds(self) -> float | None:
        """What the GPU took for the latest run, copies included, by its own clock; None before the first."""
        return self._opened.device_seconds

    @property
    def graph_batches(self) -> tuple[int, ...]:
        """The batch sizes that run as a CUDA graph so far."""
        return tuple(sorted(rows for rows, batch in self._opened.batches.items() if batch.is_graph))

    def _count_rows(self, arrays: Mapping[str, np.ndarray]) -> int:
        """Return the batch of the arrays. Raises BadInput where names, types, shapes or batches do not fit."""
        fits = arrays.keys() == {s.name for s in self.inputs} and all(
            arrays[s.name].dtype == s.dtype and arrays[s.name].ndim == len(s.shape)
            and arrays[s.name].shape[1:] == s.shape[1:] for s in self.inputs)
        if not fits or len({len(a) for a in arrays.values()}) != 1:
            wanted = ", ".join(f"{s.name} of {s.dtype} (N, {', '.join(map(str, s.shape[1:]))})" for s in self.inputs)
            found = ", ".join(f"{name} of {a.dtype} {a.shape}" for name, a in arrays.items())
            raise BadInput(f"expected arrays of one batch, {wanted}, found {found or 'none'}")
        return len(arrays[self.inputs[0].name])


def _refuse_unreadable(library: ModuleType, logger: Any, content: bytes, name: str) -> None:
    """Ask the library whether it could load these bytes, where it can be asked; it looks at the header only."""
    if not hasattr(library.ICudaEngine, "device_memory_size_v2"):  # sizes above 2 GiB, from 10.1 on
        raise Unavailable(f"expected TensorRT ≥ 10.1, found {library.__version__}; update it")
    if not content:
        raise BadModel(f"expected an engine, found an empty file: {name}; build it again")
    if not hasattr(library.Runtime, "get_engine_validity"):
        return
    try:
        runtime = library.Runtime(logger)
    except TypeError:  # how the binding says that there is none, without a GPU: opening says it better
        return
    _, said = runtime.get_engine_validity(content)
    reasons = [word for word, bit in library.EngineInvalidityDiagnostics.__members__.items()
               if word != "CUDA_ERROR" and said & int(bit)]
    if reasons:
        raise BadModel(f"expected an engine that TensorRT {library.__version__} can run here, found {name}: "
                       f"{', '.join(reasons).lower().replace('_', ' ')}; build it again on this machine")
