"""What the board kit's tests share: a small model in every precision, a stand-in for a Jetson, and its record.

The stand-in compiles nothing and ONNX Runtime computes its engines; cache, seal, oracle and verdicts are the real ones.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boards import make_jetson
from cached_engines import SomeDevice
from inspector_samples import engine, faithful_layers
from tiny_graphs import random_faces

from calibration.onnx_graph import parse_model
from export.board import ahead_of_time, gpu_tests, layers, make_report, measure_part, timings
from export.board.evidence import DRAWS
from export.board.record import BoardRecord
from export.board.task import Task
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from runtime.bench.run import run_bench
from runtime.card import Model, load_model
from runtime.engines.compile import Compiled, CompileRequest
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.engines.tensorrt_builder import Built
from runtime.errors import Unavailable
from runtime.machine import describe_machine

RESULTS = "<testsuite><testcase name='a'/><testcase name='b'><skipped message='no'/></testcase></testsuite>"
COMMIT = "c7025a9"
VERSION = "10.3.0.30"


@pytest.fixture(scope="session")
def small_model(tiny_export, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model with its INT8 forms (read-only): the oracle needs a second for it, not minutes."""
    directory = shutil.copytree(tiny_export.directory, tmp_path_factory.mktemp("board") / "tiny-vgg")
    int8_from_onnx(load_model(directory), random_faces(64), Rounding("percentile", 99.99), {"name": "noise", "seed": 0})
    return load_model(directory)


@pytest.fixture(scope="session")
def task(small_model: Model) -> Task:
    """A report on the stand-in, as quick as it can be."""
    return Task(str(small_model.directory), "tensorrt", rounds=3, draws=0, timeout_seconds=100)


class Board:
    """A Jetson by stand-ins. `told` is the inspector's answer by graph where it is not the faithful one."""

    wrong_by = 0.0  # added to every logit
    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def compile_onnx(self, content: bytes, request: CompileRequest, watch: Any = None) -> Compiled:
        return Compiled(Built(content, VERSION, 3, {"faces": "uint8"}, {"logits": "float"}, ()), 1.0, 1)

    def open_engine(self, content: bytes, name: str, precision: str, target: str, batches: Any, *, kernels: Any) -> Any:
        opened, board = OnnxRuntimeEngine(content, name, precision, 1, fuse_qdq=False), self
        opened.target, run = target, opened.run
        opened.run = lambda arrays: {n: v + board.wrong_by for n, v in run(arrays).items()}  # type: ignore[method-assign]
        return opened

    def ask_inspector(self, content: bytes, target: str, shapes: Any) -> str:
        graph = parse_model(content, "engine")
        kinds = {node.op_type for node in graph.graph.node}
        halves = any(w.data_type == 10 for w in graph.graph.initializer)
        precision = "int8" if "QuantizeLinear" in kinds else "fp16" if halves else "fp32"
        return self.told.get(precision) or engine(faithful_layers(graph, precision))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Board:
    """Let every part run in this process on the stand-in, with engines kept under tmp_path."""
    return stand_in(monkeypatch, tmp_path)


def stand_in(monkeypatch: pytest.MonkeyPatch, place: Path) -> Board:
    """Put the stand-in in the place of GPU, libraries and child processes."""
    made, root, prepared = Board(), make_jetson(place / "root"), "runtime.engines.prepared_engine"
    monkeypatch.setattr(f"{prepared}.find_gpu", lambda _: "NVIDIA Jetson Orin Nano")
    monkeypatch.setattr("runtime.engines.cuda_api.device_facts", SomeDevice)
    monkeypatch.setattr(f"{prepared}.load_compiler", lambda _: SimpleNamespace(__version__=VERSION))
    monkeypatch.setattr(f"{prepared}.compile_onnx", made.compile_onnx)
    monkeypatch.setattr("runtime.engines.tensorrt_engine.TensorRTEngine", made.open_engine)
    monkeypatch.setattr(layers, "ask_inspector", made.ask_inspector)
    monkeypatch.setattr("runtime.bench.run.memory_alone", lambda _: {"opened_mib": 1.0, "peak_mib": 2.0})
    monkeypatch.setattr(timings, "run_bench", lambda plan: run_bench(dataclasses.replace(plan, warm_up_seconds=0.0)))
    monkeypatch.setattr(gpu_tests, "run_gpu_tests", lambda _: gpu_tests.read_results(RESULTS))
    monkeypatch.setattr(ahead_of_time, "load_compiler", no_rtx)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.setattr(measure_part, "_in_child", lambda name, task, environment: measure_part.attempt(name, task))
    doctor = {"facts": describe_machine(root) | {"commit": COMMIT},
              "targets": {"cpu": True, "tensorrt": True, "tensorrt-rtx": False}}
    monkeypatch.setattr(make_report, "examine", lambda: [])
    monkeypatch.setattr(make_report, "as_dict", lambda _: doctor)
    return made


def no_rtx(target: str) -> None:
    """TensorRT-RTX has no library for a Jetson."""
    raise Unavailable("expected NVIDIA's tensorrt-rtx library, found none")


@pytest.fixture(scope="session")
def complete(task: Task, tmp_path_factory: pytest.TempPathFactory) -> BoardRecord:
    """The record of a Jetson on which everything went well, but for the oracle's draws, which would take a minute."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stand_in(monkeypatch, tmp_path_factory.mktemp("jetson"))
        record = make_report.make_report(task, lambda _: None)
    assert record.oracle is not None, record.parts
    return dataclasses.replace(record, oracle=dataclasses.replace(record.oracle, draws=DRAWS))
