"""TensorRT's runtime classes as a test double: they queue work on a CudaDouble, and ONNX Runtime computes the numbers.

Names, types, shapes and profiles are those that the real tensorrt_rtx parser read; enums and the logger's base are the
real library's own. `test_tensorrt_double.py` holds names and arity against the real classes. Stricter than the
original: a first run while recording, and a graph replayed after its context changed, are caught every time.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from cuda_double import Misuse

from runtime.engines.cuda_api import CudaError
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

MAGIC = b"double of an engine "
_NUMPY = {"FLOAT": "f4", "HALF": "f2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "INT8": "i1", "BOOL": "?"}


def double_engine(onnx_bytes: bytes, batches: tuple[int, int, int] = (1, 4, 64), memory: int = 4096,
                  location: str = "DEVICE") -> bytes:
    """Return bytes that the double deserializes: ONNX, and what NVIDIA's parser and profile say of its tensors."""
    import tensorrt_rtx

    logger = tensorrt_rtx.Logger(tensorrt_rtx.ILogger.ERROR)
    builder = tensorrt_rtx.Builder(logger)
    network = builder.create_network(1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt_rtx.OnnxParser(network, logger)
    assert parser.parse(onnx_bytes), parser.get_error(0).desc()
    profile = builder.create_optimization_profile()
    tensors = []
    for mode, count, get in (("INPUT", network.num_inputs, network.get_input),
                             ("OUTPUT", network.num_outputs, network.get_output)):
        for tensor in map(get, range(count)):
            shape = tuple(tensor.shape)
            ranges = None
            if mode == "INPUT":
                profile.set_shape(tensor.name, *((b if shape[0] == -1 else shape[0], *shape[1:]) for b in batches))
                ranges = [tuple(shape) for shape in profile.get_shape(tensor.name)]
            tensors.append({"name": tensor.name, "mode": mode, "dtype": tensor.dtype.name, "shape": shape,
                            "profile": ranges, "location": location})
    return MAGIC + json.dumps({"tensors": tensors, "memory": memory}).encode() + b"\n" + onnx_bytes


class Gpu(Protocol):
    """What TensorRT's double asks of a GPU's."""

    events: list[str]

    def on_owner(self, what: str) -> bool: ...
    def is_recording(self, stream: int) -> bool: ...
    def queue(self, stream: int, work: Callable[[], None]) -> None: ...
    def memory(self, address: int, size: int) -> np.ndarray: ...


@dataclass
class _State:
    """What a context was told; `version` counts the changes."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    memory: tuple[int, int] | None = None
    version: int = 0


@dataclass
class Behaviour:
    """How the double's library differs from one that works, and what it has seen."""

    rtx: bool = True
    refuse_context: bool = False
    refuse_shape: bool = False
    refuse_run: str = ""  # the message that the next execution fails with
    capturable: bool = True
    validity: int = 0  # bits of EngineInvalidityDiagnostics
    kernels_taken: bytes = b""
    executions: list[int] = field(default_factory=list)  # the batch of each that was computed
    contexts: int = 0


def tensorrt_double(cuda: Gpu, behaviour: Behaviour, original: Any = None) -> ModuleType:
    """Return a module like tensorrt_rtx (or, without its extras, like tensorrt 10) whose GPU is `cuda`.

    original: whose enums and logger it takes, tensorrt_rtx unless told.
    """
    original = original or importlib.import_module("tensorrt_rtx")

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine):
            self._engine, self._state = engine, _State()
            self._warm: set[int] = set()
            behaviour.contexts += 1

        def __del__(self) -> None:
            cuda.on_owner("a context destroyed")
            cuda.events.append("destroy_context")
            self._state.version = -1  # what was queued or recorded from it is undefined now

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            tensor = self._engine.tensor(name)
            low, _, high = tensor["profile"]
            self._state.version += 1
            self._state.shapes[name] = tuple(shape)
            fits = len(shape) == len(low) and all(a <= s <= b for a, s, b in zip(low, shape, high))
            return fits and not behaviour.refuse_shape

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._engine.tensor(name)
            self._state.version += 1
            self._state.addresses[name] = memory
            return True

        def set_device_memory(self, memory: int, size: int) -> None:
            assert memory % 256 == 0 and size >= self._engine.device_memory_size_v2
            self._state.version += 1
            self._state.memory = memory, size

        def is_stream_capturable(self, stream: int) -> bool:
            return behaviour.capturable

        def execute_async_v3(self, stream_handle: int) -> bool:
            cuda.on_owner("execute_async_v3")
            rows = {shape[0] for shape in self._state.shapes.values()}
            names = {t["name"] for t in self._engine.header["tensors"]}
            recording = cuda.is_recording(stream_handle)
            if behaviour.refuse_run:
                self._engine.logger.log(original.ILogger.ERROR, behaviour.refuse_run)
                behaviour.refuse_run = ""
                return False
            if len(rows) != 1 or self._state.addresses.keys() != names or self._state.memory is None:
                raise Misuse("a context ran before its shapes, addresses and memory were set")
            if recording and not (rows <= self._warm and behaviour.capturable):
                self._engine.logger.log(original.ILogger.ERROR, "operation not permitted when stream is capturing")
                return False
            self._warm |= rows
            state, version, engine = self._state, self._state.version, self._engine  # not self: nothing keeps it alive

            def compute() -> None:
                if state.version != version:
                    raise Misuse("work of a context ran after the context had changed or gone")
                engine.compute(state.addresses, min(rows), state.memory)

            try:
                cuda.queue(stream_handle, compute)
            except CudaError as error:
                self._engine.logger.log(original.ILogger.ERROR, f"Error Code 1: Cuda Runtime ({error})")
                return False
            return True

    class ICudaEngine:
        def __init__(self, content: bytes, logger: Any):
            line, onnx_bytes = content[len(MAGIC):].split(b"\n", 1)
            self.header, self.logger = json.loads(line), logger
            self._network = OnnxRuntimeEngine(onnx_bytes, "double", "fp32", 1)

        def __del__(self) -> None:
            cuda.on_owner("an engine destroyed")
            cuda.events.append("destroy_engine")

        def tensor(self, name: str) -> dict[str, Any]:
            return next(t for t in self.header["tensors"] if t["name"] == name)

        def compute(self, addresses: dict[str, int], rows: int, memory: tuple[int, int]) -> None:
            behaviour.executions.append(rows)
            feeds = {}
            for tensor in self.header["tensors"]:
                if tensor["mode"] == "INPUT":
                    dtype = np.dtype(_NUMPY[tensor["dtype"]])
                    shape = (rows, *tensor["shape"][1:])
                    found = cuda.memory(addresses[tensor["name"]], int(np.prod(shape)) * dtype.itemsize)
                    feeds[tensor["name"]] = found.copy().view(dtype).reshape(shape)
            cuda.memory(*memory)[:] = 0xAB  # where layers would keep what they compute
            for name, values in self._network.run(feeds).items():
                content = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
                cuda.memory(addresses[name], content.size)[:] = content

        @property
        def num_io_tensors(self) -> int:
            return len(self.header["tensors"])

        @property
        def device_memory_size_v2(self) -> int:
            return int(self.header["memory"])

        def get_tensor_name(self, index: int) -> str:
            return str(self.header["tensors"][index]["name"])

        def get_tensor_mode(self, name: str) -> Any:
            return original.TensorIOMode.__members__[self.tensor(name)["mode"]]

        def get_tensor_dtype(self, name: str) -> Any:
            return original.DataType.__members__[self.tensor(name)["dtype"]]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(self.tensor(name)["shape"])

        def get_tensor_location(self, name: str) -> Any:
            return original.TensorLocation.__members__[self.tensor(name)["location"]]

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
            assert profile_index == 0
            return [tuple(shape) for shape in self.tensor(name)["profile"]]

        def create_runtime_config(self) -> IRuntimeConfig:
            return IRuntimeConfig()

        def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
            cuda.on_owner("create_execution_context")
            asked = strategy.get_execution_context_allocation_strategy() if behaviour.rtx else strategy
            assert asked == original.ExecutionContextAllocationStrategy.USER_MANAGED
            if behaviour.refuse_context:
                self.logger.log(original.ILogger.ERROR, "out of host memory")
                return None
            return IExecutionContext(self)

    class IRuntimeCache:
        def __init__(self) -> None:
            self.is_set = False

        def deserialize(self, blob: bytes) -> bool:
            cuda.on_owner("deserialize kernels")
            behaviour.kernels_taken = bytes(blob)
            return True

        def serialize(self) -> bytes:
            return f"kernels of {sorted(set(behaviour.executions))}".encode() if self.is_set else b""

    class IRuntimeConfig:
        dynamic_shapes_kernel_specialization_strategy: Any = None

        def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
            self._strategy = strategy

        def get_execution_context_allocation_strategy(self) -> Any:
            return self._strategy

        def create_runtime_cache(self) -> IRuntimeCache:
            return IRuntimeCache()

        def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
            cache.is_set = True
            return True

    class Runtime:
        def __init__(self, logger: Any):
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            cuda.on_owner("deserialize_cuda_engine")
            if not serialized_engine.startswith(MAGIC):
                self._logger.log(original.ILogger.ERROR, "Error Code 1: Serialization (magicTag does not match)")
                return None
            return ICudaEngine(serialized_engine, self._logger)

        def get_engine_validity(self, buffer: bytes) -> tuple[Any, int]:
            return original.EngineValidity.INVALID, behaviour.validity

    module = ModuleType("tensorrt_double")
    kept = ("ILogger", "TensorIOMode", "TensorLocation", "DataType", "ExecutionContextAllocationStrategy")
    extras = ("DynamicShapesKernelSpecializationStrategy", "EngineInvalidityDiagnostics", "EngineValidity")
    for name in kept + (extras if behaviour.rtx else ()):
        setattr(module, name, getattr(original, name))
    if behaviour.rtx:
        module.IRuntimeCache = IRuntimeCache  # type: ignore[attr-defined]
    else:
        del Runtime.get_engine_validity, IExecutionContext.is_stream_capturable, ICudaEngine.create_runtime_config
    for kind in (Runtime, ICudaEngine, IExecutionContext, IRuntimeConfig):
        setattr(module, kind.__name__, kind)
    module.__version__ = "1.7.1" if behaviour.rtx else "10.3.0"  # type: ignore[attr-defined]
    return module
