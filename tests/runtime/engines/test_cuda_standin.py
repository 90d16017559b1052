"""Buffers, the CUDA thread and whole engines under the real bindings, on a libcuda.so.1 written from the public header.

TensorRT is not executed there: its double queues the work. Needs cuda.h, gcc and the binding.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_model import TinyNetwork

from runtime.errors import Unavailable

ROOT = Path(__file__).parents[3]
CUDA = Path("/usr/local/cuda")
ENUMS = ("TensorIOMode", "TensorLocation", "DataType", "ExecutionContextAllocationStrategy", "EngineValidity",
         "DynamicShapesKernelSpecializationStrategy", "EngineInvalidityDiagnostics")
MODULES = {"cuda-python": "cuda", "pycuda": "pycuda"}


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled stand-in."""
    if shutil.which("gcc") is None or not (CUDA / "include/cuda.h").is_file():
        pytest.skip(f"the stand-in is compiled against {CUDA}/include/cuda.h with gcc, and one of them is not here")
    folder = tmp_path_factory.mktemp("libcuda")
    source, library = ROOT / "tests/libcuda_standin.c", folder / "libcuda.so.1"
    gcc = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations",
           f"-I{CUDA}/include", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)]
    subprocess.run(gcc, check=True)
    absent = sorted(pycuda_needs() - symbols(library, "--defined-only"))
    if absent:  # pycuda links all of the driver: what it never calls here is there, and refuses
        rest = folder / "absent.c"
        refusal = 801  # CUDA_ERROR_NOT_SUPPORTED
        rest.write_text("".join(f"int {name}(void) {{ return {refusal}; }}\n" for name in absent))
        subprocess.run([*gcc, str(rest)], check=True)
    return folder


def pycuda_needs() -> set[str]:
    """Return the functions of the driver that the installed pycuda links to."""
    found = importlib.util.find_spec("pycuda")
    places = found.submodule_search_locations if found else None
    return {name for place in places or () for file in Path(place).glob("_driver*.so")
            for name in symbols(file, "--undefined-only") if name.startswith("cu")}


def symbols(library: Path, which: str) -> set[str]:
    """Return the names of a library's symbols."""
    listed = subprocess.run(["nm", "-D", which, str(library)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].partition("@")[0] for line in listed.splitlines()}


def run_there(standin: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    there = os.environ | {"LD_LIBRARY_PATH": str(standin)} | environment
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=there, capture_output=True, text=True, timeout=120,
                          check=False)


@pytest.fixture(scope="module", params=MODULES)
def seen(request: pytest.FixtureRequest, standin: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an engine's life on the stand-in looked like."""
    module = MODULES[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{request.param} is not installed here")
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason='names and types come from its parser: "mien[rtx]"')
    from tensorrt_double import double_engine

    place = tmp_path_factory.mktemp("engine")
    (place / "engine").write_bytes(double_engine(TinyNetwork.random().graph().SerializeToString()))
    (place / "enums.json").write_text(json.dumps(
        {name: {m: int(v) for m, v in getattr(tensorrt_rtx, name).__members__.items()} for name in ENUMS}))
    done = run_there(standin, ["tests/engine_on_standin.py", request.param, str(place / "engine"),
                               str(place / "enums.json")], STANDIN_INTEGRATED="1")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"asked": request.param}


def test_the_binding_tells_the_devices_facts(seen: dict[str, Any]) -> None:
    assert seen["facts"] | {"cuda": ""} == {"name": "Stand-in", "sm": "sm87", "cuda": "", "integrated": True}
    assert seen["facts"]["cuda"].count(".") == 1 and seen["binding"].startswith(seen["asked"])


@pytest.mark.parametrize("zero_copy", [None, True, False])
def test_logits_are_numpys_copied_and_not(seen: dict[str, Any], zero_copy: bool | None) -> None:
    assert seen[f"wrong, zero_copy {zero_copy}"] == 0


def test_cuda_python_replays_graphs(seen: dict[str, Any]) -> None:
    assert seen["graphs"] == ([1, 4, 8, 64] if seen["asked"] == "cuda-python" else [])


@pytest.mark.parametrize(("zero_copy", "milliseconds"), [(None, 1), (True, 1), (False, 3)])
def test_the_devices_time_is_told(seen: dict[str, Any], zero_copy: bool | None, milliseconds: int) -> None:
    """The stand-in takes a millisecond for the network, and one for each copy."""
    assert seen[f"device ms, zero_copy {zero_copy}"] == pytest.approx(milliseconds)


def test_everything_is_given_back_but_the_context_that_is_in_use(seen: dict[str, Any]) -> None:
    waits_by_event = seen["asked"] == "pycuda"  # its one event belongs to the thread, and lives as long as the context
    assert seen["held"] == [0, 0, 0, 0, 1, int(waits_by_event)] and seen["misuses"] == []


def test_memory_that_runs_out_is_an_error_that_passes(seen: dict[str, Any]) -> None:
    assert seen["out of memory"].startswith("CudaError") and "out of memory" in seen["out of memory"]
    assert seen["works after it"] is True


def test_a_thread_without_the_context_is_refused(seen: dict[str, Any]) -> None:
    assert seen["without a context"].startswith("CudaError")


def test_a_broken_context_is_a_lost_gpu(seen: dict[str, Any]) -> None:
    assert seen["broken"].startswith("GpuLost") and "illegal memory access" in seen["broken"]


def test_a_machine_without_a_gpu_says_what_to_install(standin: Path) -> None:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-python is not installed here")
    done = run_there(standin, ["-c", "from runtime.engines.cuda_api import device_facts; device_facts()"],
                     STANDIN_NO_DEVICE="1")
    assert f"{Unavailable.__name__}: expected an NVIDIA GPU, found none" in done.stderr
    assert "CUDA_ERROR_NO_DEVICE" in done.stderr and 'pip install "mien[jetson]"' in done.stderr
