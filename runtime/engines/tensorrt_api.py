"""The only importer of NVIDIA's two compiler libraries, `tensorrt` and `tensorrt_rtx`, and how both are listened to.

One code path for TensorRT 10–11 and TensorRT-RTX 1.x: names are looked up, and one that a version lacks is left out.
Knows nothing of models, files or how an engine is built (`tensorrt_builder.py`).
"""

from __future__ import annotations

import importlib
import re
import threading
from functools import cache
from types import ModuleType
from typing import Any

from runtime.errors import Unavailable

_LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_HOW_TO_GET = {
    "tensorrt": "JetPack brings it as the package python3-libnvinfer (make the venv with --system-site-packages); "
                "elsewhere pip install tensorrt",
    "tensorrt-rtx": 'pip install "mien[rtx]" (x86-64 Linux and Windows)',
}
# Lines of the builder's log as TensorRT-RTX 1.7 words them, and TensorRT 10 in public logs; other words tell nothing
_MEMORY = {
    "weights_bytes": (re.compile(r"Total Weights Memory: (\d+) bytes"), 1),
    "activation_bytes": (re.compile(r"Total Activation Memory: (\d+) bytes"), 1),
    "build_gpu_peak_bytes": (re.compile(r"Peak memory usage of TRT CPU/GPU .* GPU (\d+) MiB"), 1 << 20),
}
_MAKING = threading.Lock()  # a cache alone would let two threads make a logger each


def load_compiler(target: str) -> ModuleType:
    """Import the library of a target. Raises Unavailable, saying how to get it."""
    try:
        return importlib.import_module(_LIBRARIES[target])
    except (ImportError, OSError) as error:  # OSError: the library is there, one of its .so files is not
        raise Unavailable(f"expected NVIDIA's {target} library, found none ({error}); {_HOW_TO_GET[target]}") from error


def known_gpus(target: str) -> list[str]:
    """Return the GPU generations a target compiles for ahead of time, as `sm86`; empty where it builds in place."""
    library = load_compiler(target)
    if not hasattr(library.IBuilderConfig, "set_compute_capability"):
        return []
    names = [n.lower() for n in dir(library.ComputeCapability) if n.startswith("SM") and n[2:].isdigit()]
    return sorted(names, key=lambda name: int(name[2:]))


def runtime_logger(library: ModuleType) -> Any:
    """Return the one logger of all runtimes of this process; it lives as long as the process does.

    TensorRT registers the first logger it is given for the whole process and may speak to it later, also when the
    runtime that brought it is gone; each other one costs a warning (createInferRuntime, NvInferRuntime.h).
    """
    with _MAKING:
        return _logger_of(library)


@cache
def _logger_of(library: ModuleType) -> Any:
    return make_logger(library)


def make_logger(library: ModuleType) -> Any:
    """Return a logger that prints nothing.

    Its `problems` are the warnings and errors heard so far, each on one line; its `memory` the bytes that the builder
    says the engine and the build take, by name.
    """

    class Listener(library.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.problems: list[str] = []
            self.memory: dict[str, int] = {}

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.WARNING, library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                self.problems.append(" ".join(message.split()))
            elif severity == library.ILogger.INFO:
                for name, (pattern, unit) in _MEMORY.items():
                    if found := pattern.search(message):
                        self.memory[name] = int(found[1]) * unit

    return Listener()
