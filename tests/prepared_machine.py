"""A machine with a GPU and TensorRT that is none: the device's facts, the compiler and the running half are stand-ins.

An "engine" is its graph behind a mark, and ONNX Runtime computes it. test_prepared_engine.py holds the stand-ins
against what they stand for.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from cached_engines import SomeDevice

from runtime.engines.compile import Compiled, CompileRequest
from runtime.engines.jit_kernels import KernelFile
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.engines.tensorrt_builder import Built
from runtime.errors import Unavailable

MARK = b"engine of "


class StandInEngine(OnnxRuntimeEngine):
    """A TensorRTEngine by its signature; ONNX Runtime computes what it holds."""

    fails: Exception | None = None  # what opening the next one raises
    wrong_by = 0.0  # added to every logit

    def __init__(self, content: bytes, name: str, precision: str, target: str,
                 batches: tuple[int, int, int] = (1, 4, 64), *, kernels: KernelFile | None = None):
        if StandInEngine.fails:
            raise StandInEngine.fails
        assert content.startswith(MARK) and kernels is not None
        super().__init__(content[len(MARK):], name, precision, 1, fuse_qdq=False)
        self.target, self.batches, self.closed = target, batches, False

    def run(self, arrays: Any) -> dict[str, np.ndarray]:
        return {name: values + StandInEngine.wrong_by for name, values in super().run(arrays).items()}


class Machine:
    """A machine with a GPU and TensorRT; tests take things away, and count what was compiled."""

    def __init__(self) -> None:
        self.device, self.libraries = SomeDevice(), {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1"}
        self.requests: list[CompileRequest] = []
        self.compiled_by = ""  # the version that compiles, where it is not the one that was imported
        self.gpu = "NVIDIA Jetson Orin Nano"

    @property
    def compiled(self) -> list[str]:
        return [request.target for request in self.requests]

    def find_gpu(self, root: Path) -> str:
        return self.gpu

    def device_facts(self) -> SomeDevice:
        return self.device

    def load_compiler(self, target: str) -> SimpleNamespace:
        if target not in self.libraries:
            raise Unavailable(f"expected NVIDIA's {target} library, found none")
        return SimpleNamespace(__version__=self.libraries[target])

    def compile_onnx(self, content: bytes, request: CompileRequest, watch: Any = None) -> Compiled:
        self.requests.append(request)
        version = self.compiled_by or self.libraries[request.target]
        return Compiled(Built(MARK + content, version, 3, {"faces": "uint8"}, {"logits": "float"}, ()), 1.0, 1)
