"""An engine's life on libcuda_standin.c through a real binding, as a program of its own: its driver is nobody else's.

    LD_LIBRARY_PATH=… python tests/engine_on_standin.py {cuda-python|pycuda} ENGINE ENUMS.json

TensorRT is the double, and its enums come from a file: NVIDIA's library must not meet a driver that is none. Prints one
JSON object of what it saw; test_cuda_standin.py says what that must be.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
from tensorrt_double import Behaviour, tensorrt_double  # noqa: E402
from tiny_model import TinyNetwork  # noqa: E402

from runtime.engines import tensorrt_engine  # noqa: E402
from runtime.engines.cuda_api import Cuda, CudaError, device_facts, load_cuda  # noqa: E402
from runtime.engines.cuda_thread import CudaThread  # noqa: E402
from runtime.errors import MienError  # noqa: E402

DRIVER = ctypes.CDLL("libcuda.so.1")
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class StandIn:
    """What TensorRT's double asks of a GPU, answered by the C library."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.misuses: list[str] = []
        self._kept: list[object] = []

    def on_owner(self, what: str) -> bool:
        context = ctypes.c_void_p()
        DRIVER.cuCtxGetCurrent(ctypes.byref(context))
        if not context.value:
            self.misuses.append(what)
        return bool(context.value)

    def is_recording(self, stream: int) -> bool:
        status = ctypes.c_int()
        DRIVER.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
        return bool(status.value)

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        self._kept.append(HOST_FUNCTION(lambda _: work()))
        status = DRIVER.cuLaunchHostFunc(ctypes.c_void_p(stream), self._kept[-1], None)
        if status:
            raise CudaError(f"expected cuLaunchHostFunc to succeed, found error {status}")

    def memory(self, address: int, size: int) -> np.ndarray:
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def plain_enums(file: Path) -> Any:
    """Enums with the real ones' names and values, and a logger's base class."""
    enums = {name: enum.IntEnum(name, members) for name, members in json.loads(file.read_text()).items()}  # type: ignore[misc]
    severities = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO")
    return SimpleNamespace(ILogger=type("ILogger", (), {name: i for i, name in enumerate(severities)}), **enums)


def held() -> list[int]:
    """Device blocks, pinned blocks, streams, graphs, contexts and events that were not given back."""
    return [DRIVER.standin_held(kind) for kind in range(6)]


def wanted_binding(name: str) -> Cuda:
    if name == "pycuda":
        from runtime.engines.cuda_pycuda import PyCuda
        return PyCuda()
    return load_cuda()


def main() -> None:
    binding, engine_file, enums = sys.argv[1:]
    gpu, tiny, seen = StandIn(), TinyNetwork.random(), {}
    library = tensorrt_double(gpu, Behaviour(), plain_enums(Path(enums)))
    tensorrt_engine.load_compiler = lambda target: library  # type: ignore[assignment]
    cuda = wanted_binding(binding)
    seen["facts"] = vars(cuda.facts() if binding == "pycuda" else device_facts())
    seen["binding"] = cuda.binding
    thread = CudaThread(cuda)
    for zero_copy in (None, True, False):
        engine = tensorrt_engine.TensorRTEngine(Path(engine_file).read_bytes(), "tiny.engine", "fp32", "tensorrt-rtx",
                                                zero_copy=zero_copy, thread=thread)
        wrong = 0
        for turn in range(3):
            for count in (1, 3, 70):
                faces = np.random.default_rng((count, turn)).integers(0, 256, (count, 1, 48, 48), dtype=np.uint8)
                wrong += not np.allclose(engine.run({"faces": faces})["logits"], tiny.logits(faces), atol=1e-4)
        seen[f"wrong, zero_copy {zero_copy}"] = wrong
        seen["graphs"] = engine.graph_batches
        engine.run({"faces": faces[:3]})
        seen[f"device ms, zero_copy {zero_copy}"] = 1000 * (engine.last_device_seconds or 0)
        engine.close()
    CudaThread(wanted_binding(binding)).close()
    seen["held"] = held()
    seen["out of memory"] = failure(lambda: thread.call(lambda: cuda.allocate_device(1 << 41)))
    seen["works after it"] = bool(thread.call(lambda: cuda.free_device(cuda.allocate_device(1)) or True))
    seen["without a context"] = failure(lambda: cuda.allocate_device(1))
    broken = tensorrt_engine.TensorRTEngine(Path(engine_file).read_bytes(), "tiny.engine", "fp32", "tensorrt-rtx",
                                            thread=thread)
    DRIVER.standin_break(700)
    seen["broken"] = failure(lambda: broken.run({"faces": np.zeros((1, 1, 48, 48), np.uint8)}))
    broken.close()
    seen["misuses"] = gpu.misuses
    print(json.dumps(seen))


def failure(work: Callable[[], object]) -> str:
    """Return the class and message of the error that `work` raises."""
    try:
        work()
    except MienError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    main()
