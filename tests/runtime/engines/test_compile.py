"""The compiler's child process: watched, stopped, and gone when its parent is. The real TensorRT-RTX, and a double.

That our graphs compile is in tests/export/test_engine_from_onnx.py.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from compiler_double import ENGINE, GOOD_GRAPH, TENSORRT_10_3, make_compiler
from tiny_graphs import vgg_graph

from runtime.engines import compile, tensorrt_builder
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.errors import BadInput, BadModel, MienError

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
REQUEST = CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 16, 16), timeout_seconds=120)


@pytest.fixture(scope="module")
def graph() -> bytes:
    return vgg_graph().SerializeToString()


@needs_rtx
def test_a_build_over_its_memory_is_stopped_in_one_line(graph: bytes) -> None:
    with pytest.raises(MienError, match=r"within 40 MiB, found it at \d+ MiB and stopped it; raise --memory"):
        compile_onnx(graph, dataclasses.replace(REQUEST, memory_bytes=40 << 20))


@needs_rtx
def test_a_layer_that_wants_more_scratch_memory_is_told_the_flag(graph: bytes) -> None:
    with pytest.raises(MienError, match="may take 0 MiB of scratch memory: raise --workspace"):
        compile_onnx(graph, dataclasses.replace(REQUEST, workspace_bytes=1))


@needs_rtx
def test_a_build_within_its_memory_ends(graph: bytes) -> None:
    assert compile_onnx(graph, dataclasses.replace(REQUEST, memory_bytes=8 << 30)).built.content


@needs_rtx
def test_progress_arrives_while_the_child_works(graph: bytes) -> None:
    heard: list[tuple[str, int, int]] = []
    compile_onnx(graph, REQUEST, lambda *step: heard.append(step))
    assert heard and all(phase and 0 <= done <= steps for phase, done, steps in heard)


def test_progress_is_passed_on_line_by_line(tmp_path: Path) -> None:
    progress, heard = tmp_path / "progress", []
    progress.write_text('["a", 0, 2]\n["a", 1, 2]\n["a", 2')
    read = compile._pass_on(progress, 0, lambda *step: heard.append(step))
    with open(progress, "a") as file:
        file.write(", 2]\n")
    assert compile._pass_on(progress, read, lambda *step: heard.append(step)) == progress.stat().st_size
    assert heard == [("a", 1, 2), ("a", 2, 2)]


@pytest.mark.parametrize("change", [
    {"batches": (0, 1, 1)}, {"batches": (2, 1, 4)}, {"workspace_bytes": 0}, {"memory_bytes": -1},
    {"workspace_bytes": 99999999999999 << 20},
    {"timeout_seconds": 0}, {"timeout_seconds": float("nan")}], ids=str)
def test_limits_that_no_build_could_keep_are_refused(change: dict) -> None:
    with pytest.raises(BadInput, match="expected .*found"):
        compile_onnx(b"", dataclasses.replace(REQUEST, **change))


def test_a_compiler_that_dies_takes_the_timing_cache_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    timings = tmp_path / "x.timing"
    timings.write_bytes(b"damaged")
    with pytest.raises(MienError, match="dead by exit code 1: silent"):
        compile_onnx(b"", dataclasses.replace(REQUEST, timing_cache=str(timings)))
    assert not timings.exists()


@needs_rtx
def test_a_refused_graph_costs_no_timing_cache(tmp_path: Path) -> None:
    timings = tmp_path / "x.timing"
    timings.write_bytes(b"timings")
    with pytest.raises(BadModel):
        compile_onnx(b"no graph", dataclasses.replace(REQUEST, timing_cache=str(timings)))
    assert timings.read_bytes() == b"timings"


@needs_rtx
def test_tensorrt_rtx_keeps_no_timing_cache(graph: bytes, tmp_path: Path) -> None:
    compile_onnx(graph, dataclasses.replace(REQUEST, timing_cache=str(tmp_path / "x.timing")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_the_child_is_bound_to_its_parent_before_its_long_imports(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text(
        "import ctypes\nsignal = ctypes.c_int()\nctypes.CDLL(None).prctl(2, ctypes.byref(signal))  # PR_GET_PDEATHSIG\n"
        "raise SystemExit(f'to die by signal {signal.value}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MienError, match="dead by exit code 1: to die by signal 9"):
        compile_onnx(b"", REQUEST)


# the child's own half, in this process, with the double in the library's place

@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the parent leaves it for a child on a Jetson with TensorRT 10.3."""
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda root: "NVIDIA Jetson Orin Nano")
    monkeypatch.setitem(sys.modules, "tensorrt", make_compiler(TENSORRT_10_3))
    (tmp_path / "graph.onnx").write_bytes(GOOD_GRAPH)
    request_inspection(tmp_path, True)
    return tmp_path


def request_inspection(place: Path, inspect: bool) -> None:
    request = CompileRequest("tensorrt", None, "faces", (1, 48, 48), timing_cache=str(place / "x.timing"),
                             inspect=inspect)
    (place / "request.json").write_text(json.dumps(dataclasses.asdict(request)))


def test_on_a_device_the_child_builds_and_then_asks_the_inspector(place: Path) -> None:
    assert compile._child(str(place)) == 0
    assert (place / "engine").read_bytes() == ENGINE
    assert json.loads((place / "inspected.json").read_text()) == ['{"Layers": ["one"]}', ""]
    assert sys.modules["tensorrt"].told["inspected_shape"] == ("faces", (4, 1, 48, 48))


def test_an_inspector_that_nobody_asked_opens_no_engine(place: Path) -> None:
    request_inspection(place, False)
    assert compile._child(str(place)) == 0
    assert json.loads((place / "inspected.json").read_text()) == ["", compile.NOT_ASKED]
    assert "inspected_shape" not in sys.modules["tensorrt"].told


def test_the_timing_cache_is_read_and_given_back(place: Path) -> None:
    (place / "x.timing").write_bytes(b"earlier")
    compile._child(str(place))
    assert sys.modules["tensorrt"].told["configs"][0].cache.content == b"earlier"
    assert (place / "timings").read_bytes() == b"new timings"


def test_an_inspector_that_fails_costs_no_engine(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", make_compiler(dataclasses.replace(TENSORRT_10_3, opens=False)))
    assert compile._child(str(place)) == 0
    told, why = json.loads((place / "inspected.json").read_text())
    assert told == "" and "deserialization failed" in why and (place / "engine").read_bytes() == ENGINE


def test_an_inspector_that_crashes_costs_no_engine(place: Path) -> None:
    (place / "said").write_text("ok\nSegmentation fault\n")
    child = subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])
    child.wait()
    assert compile._inspection(child, place) == ("", "the inspector died by signal 11: Segmentation fault")


HUNG_INSPECTOR = """#!{python}
import json, os, pathlib, sys, time
place = pathlib.Path(sys.argv[-1])
(place / "engine").write_bytes(b"engine")
(place / "timings").write_bytes(b"")
facts = dict(compiler_version="10.3.0", layers=3, inputs={{}}, outputs={{}}, warnings=[], gpus=[], peak_bytes=1)
if {finished}:
    (place / "built.json").write_text(json.dumps(facts))
time.sleep(600)
"""


def compile_with(child: str, place: Path, monkeypatch: pytest.MonkeyPatch, **limits: float) -> compile.Compiled:
    program = place / "python"
    program.write_text(child)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return compile_onnx(b"", dataclasses.replace(REQUEST, **limits))


@pytest.mark.parametrize(("limits", "why"), [
    ({"timeout_seconds": 1.25}, r"end in 1\.25 s, found it still running"),
    ({"timeout_seconds": 60, "memory_bytes": 1 << 20}, "within 1 MiB")], ids=["time", "memory"])
def test_a_limit_that_stops_the_inspector_costs_no_engine(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict, why: str) -> None:
    monkeypatch.setattr(compile, "TICK", 1.0)  # the child gets so far before its memory is looked at
    child = HUNG_INSPECTOR.format(python=sys.executable, finished=True)
    compiled = compile_with(child, tmp_path, monkeypatch, **limits)
    assert compiled.built.content == b"engine" and compiled.inspected == ""
    assert re.search(f"the inspector: .*{why}", compiled.not_inspected)


def test_a_build_that_does_not_end_in_its_time_is_an_error_that_says_the_time(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MienError, match=r"end in 0\.01 s, found it still running and stopped it; raise --timeout"):
        compile_with(HUNG_INSPECTOR.format(python=sys.executable, finished=False), tmp_path, monkeypatch,
                     timeout_seconds=0.01)
