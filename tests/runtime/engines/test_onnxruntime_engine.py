"""ONNX Runtime's settings and providers: what a kiosk needs, and a GPU that is asked for and not there."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtime.card import load_model
from runtime.engines import graph_for, onnxruntime_engine, open_engine
from runtime.engines.onnxruntime_engine import PROVIDERS, OnnxRuntimeEngine, available_targets
from runtime.errors import Unavailable

ROOT = Path(__file__).parents[3]
SHIPPED = Path("mien-light")
GPU_TARGETS = pytest.mark.parametrize("target", ["onnxruntime-cuda", "onnxruntime-tensorrt"])


def needs_no_gpu_provider(target: str) -> None:
    if target in available_targets():
        pytest.skip(f"this ONNX Runtime has {PROVIDERS[target]}: nothing is missing here")


def test_the_cpu_is_the_default_and_the_only_provider_taken() -> None:
    engine = OnnxRuntimeEngine(load_model(SHIPPED).read_graph("int8"), "int8.onnx", "int8")
    assert engine.target == "cpu"
    assert engine._session.get_providers() == ["CPUExecutionProvider"]


@GPU_TARGETS
def test_a_provider_that_is_not_built_in_says_how_to_get_it(target: str) -> None:
    needs_no_gpu_provider(target)
    with pytest.raises(Unavailable, match="onnxruntime-gpu") as caught:
        open_engine(load_model(SHIPPED), "fp32", target)
    assert PROVIDERS[target] in str(caught.value) and "--target cpu" in str(caught.value)


@GPU_TARGETS
def test_a_provider_that_does_not_start_is_never_replaced_by_the_cpu_in_silence(
        target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_no_gpu_provider(target)
    # as where onnxruntime-gpu is installed and libcudnn is not: the name is offered, the session comes up without it
    monkeypatch.setattr(onnxruntime_engine, "available_targets", lambda: tuple(PROVIDERS))
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(Unavailable) as caught:
        open_engine(load_model(SHIPPED), "fp32", target)
    assert "fell back to CPUExecutionProvider" in str(caught.value)


def test_providers_get_the_graphs_precision_and_no_tf32() -> None:
    names = [name for name, _ in onnxruntime_engine._providers("onnxruntime-tensorrt", "int8")]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    flags = {p: onnxruntime_engine._providers("onnxruntime-tensorrt", p)[0][1] for p in ("fp32", "fp16", "int8")}
    assert flags["fp32"] == {"trt_fp16_enable": "0", "trt_int8_enable": "0"}
    assert flags["fp16"] == {"trt_fp16_enable": "1", "trt_int8_enable": "0"}
    assert flags["int8"] == {"trt_fp16_enable": "1", "trt_int8_enable": "1"}
    assert dict(onnxruntime_engine._providers("onnxruntime-cuda", "fp32"))["CUDAExecutionProvider"] == {"use_tf32": "0"}


@GPU_TARGETS
def test_a_gpu_provider_takes_the_gpu_form(target: str) -> None:
    assert graph_for("int8", target) == "int8-gpu"


def test_a_graph_opened_for_the_kiosk_does_not_spin_between_frames() -> None:
    engine = OnnxRuntimeEngine(load_model(SHIPPED).read_graph("int8"), "int8.onnx", "int8", threads=2)
    options = engine._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL


def cores_used(spin: bool) -> float:
    """Cores that a session of two threads takes while it waits for 25 frames of 40 ms."""
    options = onnxruntime_engine.kiosk_options(onnxruntime, 2, True, spin)
    session = onnxruntime.InferenceSession(load_model(SHIPPED).read_graph("int8"), options,
                                           providers=["CPUExecutionProvider"])
    faces = {"faces": np.zeros((1, 1, 48, 48), np.uint8)}
    session.run(None, faces)
    began, used = time.perf_counter(), time.process_time()
    for _ in range(25):
        session.run(None, faces)
        time.sleep(0.04)
    return (time.process_time() - used) / (time.perf_counter() - began)


def test_the_setting_is_one_that_this_onnx_runtime_knows() -> None:
    # an unknown name would be taken without a word: what it does must show
    assert cores_used(spin=False) < cores_used(spin=True) / 2


def test_a_kiosks_imports_leave_onnx_runtime_for_when_an_engine_opens() -> None:
    code = "import sys, runtime.stream; print('onnxruntime' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_missing_onnx_runtime_says_which_pip_install_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match='pip install "mien"'):
        OnnxRuntimeEngine(b"", "m.onnx", "fp32")


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import onnxruntime
from runtime.card import load_model
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

model = load_model(Path(sys.argv[1]))
graph = model.read_graph("fp32")
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for more in (2, 16, 32):
    resource.setrlimit(resource.RLIMIT_AS, (held + more * 2**20, resource.RLIM_INFINITY))
    try:
        OnnxRuntimeEngine(graph, "fp32.onnx", "fp32", threads=1)
    except MemoryError as error:
        print(more, error)
"""


def test_too_little_memory_is_not_the_models_fault() -> None:
    """exit 2 would keep a kiosk down for good, whose next process may find enough."""
    result = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, str(SHIPPED)], capture_output=True, text=True,
                            timeout=60, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[:2] == ["2 to open fp32.onnx", "16 to open fp32.onnx"]


def test_two_threads_may_share_an_engine() -> None:
    model = load_model(SHIPPED)
    engine, golden = open_engine(model, "int8", "cpu", threads=1), model.read_golden()
    alone = engine.run({"faces": golden.faces})["logits"]
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(engine.run({"faces": golden.faces})["logits"]))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(logits, alone) for logits in found)
