"""The only importer of NVIDIA's two compiler libraries, `tensorrt` and `tensorrt_rtx`.

One code path for TensorRT 8.5–11 and TensorRT-RTX 1.x: flags are looked up by name, and a name that a version lacks is
left out. Knows nothing of models or files.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import find_gpu

_LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_HOW_TO_GET = {
    "tensorrt": "JetPack brings it as the package python3-libnvinfer (make the venv with --system-site-packages); "
                "elsewhere pip install tensorrt",
    "tensorrt-rtx": 'pip install "mien[rtx]" (x86-64 Linux and Windows)',
}

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]


@dataclass(frozen=True)
class Built:
    """A compiled engine and what the compiler said of it."""

    content: bytes
    compiler_version: str
    layers: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    warnings: tuple[str, ...]


def load_compiler(target: str) -> ModuleType:
    """Import the library of a target. Raises Unavailable, saying how to get it."""
    try:
        return importlib.import_module(_LIBRARIES[target])
    except (ImportError, OSError) as error:  # OSError: the library is there, one of its .so files is not
        raise Unavailable(f"expected NVIDIA's {target} library, found none ({error}); {_HOW_TO_GET[target]}") from error


def known_gpus(target: str) -> list[str]:
    """Return the GPU generations a target compiles for ahead of time, as `sm86`; empty where it builds in place."""
    capabilities = getattr(load_compiler(target), "ComputeCapability", None)
    names = [n.lower() for n in dir(capabilities) if n.startswith("SM") and n[2:].isdigit()]
    return sorted(names, key=lambda name: int(name[2:]))


def build_engine(content: bytes, target: str, gpu: str | None, profile: Profile, workspace_bytes: int) -> Built:
    """Parse ONNX bytes as a strongly typed network and compile it.

    gpu: `sm86` and the like, compiled without a GPU (TensorRT-RTX only); None compiles for the GPU that is here.
    profile: input → (smallest, usual, largest) shape. Raises BadModel with every parser error, BadInput, MienError.
    """
    library = load_compiler(target)
    heard: list[str] = []
    logger = _make_logger(library, heard)
    if gpu is not None and gpu not in known_gpus(target):  # before the Builder: it wants a GPU where it has no target
        raise BadInput(f"expected a GPU of {', '.join(known_gpus(target)) or 'this machine only'}, found {gpu}")
    if gpu is None and not find_gpu(Path("/")):
        raise Unavailable("expected an NVIDIA GPU to build for, found none here; say --gpu sm86, or another "
                          "generation, to compile ahead of time with tensorrt-rtx")
    builder = library.Builder(logger)
    network = builder.create_network(_network_flags(library))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = "; ".join(_describe(parser.get_error(i)) for i in range(parser.num_errors))
        raise BadModel(f"expected a graph that {target} {library.__version__} parses, found: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, workspace_bytes)
    if hasattr(library.BuilderFlag, "TF32"):
        config.clear_flag(library.BuilderFlag.TF32)  # fp32 must mean fp32
    if gpu is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(library.ComputeCapability, gpu.upper()), 0)
    shapes = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in profile.items():
        shapes.set_shape(name, tuple(smallest), tuple(usual), tuple(largest))
    config.add_optimization_profile(shapes)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise MienError(f"expected {target} to build the engine, found: {'; '.join(heard[-3:]) or 'no reason given'}")
    return Built(
        content=bytes(engine),
        compiler_version=str(library.__version__),
        layers=network.num_layers,
        inputs={t.name: t.dtype.name.lower() for t in map(network.get_input, range(network.num_inputs))},
        outputs={t.name: t.dtype.name.lower() for t in map(network.get_output, range(network.num_outputs))},
        warnings=tuple(dict.fromkeys(heard)),
    )


def _network_flags(library: ModuleType) -> int:
    """Strongly typed, and explicit batch where the version still has a name for it."""
    flags = library.NetworkDefinitionCreationFlag
    if not hasattr(flags, "STRONGLY_TYPED"):
        raise Unavailable(f"expected TensorRT ≥ 9.1 (strongly typed networks), found {library.__version__}; update it")
    names = [name for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH") if hasattr(flags, name)]
    return sum(1 << int(getattr(flags, name)) for name in names)


def _make_logger(library: ModuleType, heard: list[str]) -> Any:
    """A logger that keeps warnings and errors instead of printing them."""

    class Listener(library.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.WARNING, library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                heard.append(" ".join(message.split()))

    return Listener()


def _describe(error: Any) -> str:
    """One parser error with its node, on one line."""
    node = error.node_name() if hasattr(error, "node_name") else f"node {error.node()}"
    lines = [line for line in error.desc().splitlines() if "catchCudaError" not in line]  # no GPU is no parser error
    return f"{node}: {' '.join(lines)}".strip(": ")
