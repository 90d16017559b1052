"""ONNX Runtime: on the CPU the embedded default and the stand-in for every NVIDIA target; its GPU providers on request.

Knows nothing of what the arrays mean. The only importer of `onnxruntime` here, and only once an engine is opened. How
the GPU providers are set was read in their documentation: no machine with a GPU has run them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from runtime.engines.engine import TensorSpec
from runtime.errors import BadModel, MienError, Unavailable

_DTYPES = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1",
           "tensor(int8)": "i1", "tensor(int32)": "i4", "tensor(int64)": "i8", "tensor(bool)": "?"}
# Target → its provider. What a provider cannot compute falls to the CPU's, which ONNX Runtime adds last; TensorRT's
# leftovers fall to CUDA's first
PROVIDERS = {"cpu": "CPUExecutionProvider", "onnxruntime-cuda": "CUDAExecutionProvider",
             "onnxruntime-tensorrt": "TensorrtExecutionProvider"}

HOW_TO_GET_PROVIDERS = "pip uninstall onnxruntime; pip install onnxruntime-gpu"  # both install the same module


def load_onnxruntime() -> ModuleType:
    """Import ONNX Runtime. Raises Unavailable, saying how to get it."""
    try:
        return importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:
        raise Unavailable(f"expected the package onnxruntime, found none that loads ({error}); pip install \"mien\""
                          ) from error


def available_targets() -> tuple[str, ...]:
    """Return the targets whose provider this ONNX Runtime was built with; its libraries may still lack."""
    built_with = load_onnxruntime().get_available_providers()
    return tuple(target for target, provider in PROVIDERS.items() if provider in built_with)


# What ONNX Runtime 1.31 says where the system has no memory left, under three classes beside MemoryError
NO_MEMORY = ("bad_alloc", "allocate memory")


class OnnxRuntimeEngine:
    """An ONNX graph in an ONNX Runtime session."""

    def __init__(self, content: bytes, name: str, precision: str, threads: int = 0, fuse_qdq: bool = True,
                 target: str = "cpu"):
        """Open verified ONNX bytes; `threads` 0 lets ONNX Runtime take every core.

        Raises BadModel, Unavailable, MemoryError.

        fuse_qdq: False computes Q/DQ as they are written. The GPU form needs it: ONNX Runtime 1.31 quantizes biases
        with the product of two half-precision scales, which underflows (85 % of labels agreed instead of 99.6 %).
        target: `cpu`, `onnxruntime-cuda` or `onnxruntime-tensorrt`; a GPU is never taken unasked, nor replaced by
        the CPU in silence.
        """
        onnxruntime = load_onnxruntime()
        if target not in available_targets():
            raise Unavailable(f"expected an ONNX Runtime with {PROVIDERS[target]}, found one with "
                              f"{', '.join(onnxruntime.get_available_providers())}; {HOW_TO_GET_PROVIDERS}, or use "
                              "--target cpu")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                content, kiosk_options(onnxruntime, threads, fuse_qdq), providers=_providers(target, precision))
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
                raise MemoryError(f"to open {name}") from error  # no fault of the model's: later there may be enough
            raise BadModel(f"expected a graph that ONNX Runtime loads, found {name}: {_said(error)}") from error
        if PROVIDERS[target] not in self._session.get_providers():  # its libraries lack, and ONNX Runtime goes on
            raise Unavailable(f"expected {PROVIDERS[target]} to start, found that ONNX Runtime fell back to "
                              f"{', '.join(self._session.get_providers())}; mien doctor says what is missing, or use "
                              "--target cpu")
        self.target, self.compiled_sha256 = target, ""
        self.precision = precision
        self.inputs = tuple(_spec(i) for i in self._session.get_inputs())
        self.outputs = tuple(_spec(o) for o in self._session.get_outputs())
        self._output_names = [o.name for o in self.outputs]

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. Raises MienError when closed or when ONNX Runtime fails."""
        if self._session is None:
            raise MienError("expected an open engine, found a closed one")
        try:
            results = self._session.run(self._output_names, dict(arrays))
        except Exception as error:
            raise MienError(f"expected ONNX Runtime to run the graph, found: {_said(error)}") from error
        return dict(zip(self._output_names, results))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def kiosk_options(onnxruntime: ModuleType, threads: int, fuse_qdq: bool, spin: bool = False) -> Any:
    """Settings for a small network that runs for months beside a camera.

    No spinning: at 25 frames a second two spinning threads took several times the processor that sleeping ones did,
    for a tenth of a millisecond (docs/results/engine-overhead-cpu.json). The arena stays: at a kiosk's batches it holds
    a few MiB and saves time; returning it after each run (`enable_memory_arena_shrinkage`) doubled the time.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the networks are chains: there are no branches to run side by side
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only: people's text is ours
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if not fuse_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _providers(target: str, precision: str) -> list[tuple[str, dict[str, str]]]:
    """Providers in order, each with its options; precision stays the graph's, and TF32 off, for fp32 must mean fp32.

    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and TensorRT-ExecutionProvider.html
    """
    cpu: tuple[str, dict[str, str]] = (PROVIDERS["cpu"], {})
    cuda = (PROVIDERS["onnxruntime-cuda"], {"use_tf32": "0"})
    if target == "cpu":
        return [cpu]
    if target == "onnxruntime-cuda":
        return [cuda, cpu]
    # a weakly typed build refuses half and int8 tensors unless its flags allow them
    flags = {"trt_fp16_enable": "0" if precision == "fp32" else "1", "trt_int8_enable": str(int(precision == "int8"))}
    return [(PROVIDERS[target], flags), cuda, cpu]


def _spec(value: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, np.dtype(_DTYPES.get(value.type, "V")), shape)
