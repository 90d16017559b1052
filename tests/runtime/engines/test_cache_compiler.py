"""The cache around NVIDIA's real compiler: TensorRT-RTX, ahead of time for sm86, which needs no GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from cached_engines import COMMAND, SomeDevice, no_build

from runtime.card import load_model
from runtime.engines.cache import EngineCache
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.engine_key import EngineKey
from runtime.engines.tensorrt_api import load_compiler, make_logger

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                                reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
ROOT = Path(__file__).resolve().parents[3]
REQUEST = CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 48, 48))


def key_of(graph: bytes) -> EngineKey:
    version = str(load_compiler("tensorrt-rtx").__version__)
    return EngineKey.of(graph, REQUEST, version, SomeDevice("RTX A2000", "sm86", "12.9"))


def test_a_real_engine_comes_back_bit_for_bit_and_only_unsealed_is_it_one(tiny_model: Path, tmp_path: Path) -> None:
    graph = load_model(tiny_model).read_graph("fp32")
    cache, compiled = EngineCache(tmp_path / "engines"), compile_onnx(graph, REQUEST)
    kept = cache.get(key_of(graph), lambda: compiled, COMMAND)
    found = cache.get(key_of(graph), no_build, COMMAND)
    assert found.engine == compiled.built.content
    assert found.sidecar["compiler_version"] == key_of(graph).compiler_version
    library = load_compiler("tensorrt-rtx")
    runtime = library.Runtime(make_logger(library))
    only_the_gpu_lacks = int(library.EngineInvalidityDiagnostics.CUDA_ERROR)

    def complaints(content: bytes) -> int:
        return int(runtime.get_engine_validity(content)[1]) & ~only_the_gpu_lacks

    assert complaints(found.engine) == 0
    assert complaints(kept.path.read_bytes()) != 0


PROCESS = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "."]
from runtime.card import load_model
from runtime.engines.cache import EngineCache
from runtime.engines.compile import compile_onnx
from tests.runtime.engines.test_cache_compiler import REQUEST, key_of

graph = load_model(Path(sys.argv[1])).read_graph("fp32")
got = EngineCache(Path(sys.argv[2])).get(key_of(graph), lambda: compile_onnx(graph, REQUEST), "")
print(got.compiled_now, got.sidecar["engine_bytes"] == len(got.engine))
"""


def test_two_processes_run_the_compiler_once(tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tiny_model), str(tmp_path / "engines")]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(p.communicate(timeout=120)[0].strip() for p in processes) == ["False True", "True True"]
