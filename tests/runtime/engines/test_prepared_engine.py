"""`open_engine` and `mien prepare` for TensorRT's targets: GPU → library → cache or compiler → engine.

No GPU is here, so what the device says, the compiler and the running half are stand-ins: an "engine" is its graph
behind a mark, and ONNX Runtime computes it. Card, graphs, golden faces, cache and seal are the real ones.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from cached_engines import SomeDevice
from tiny_model import LABELS, TinyNetwork, write_tiny_card, write_tiny_model

import mien
import runtime.engines
import runtime.prepare
from runtime.card import load_model
from runtime.engines import graph_for, open_engine, prepared_engine
from runtime.engines.cache import EngineCache
from runtime.engines.compile import Compiled, CompileRequest, compile_onnx
from runtime.engines.cuda_api import CudaError, device_facts
from runtime.engines.jit_kernels import KernelFile
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.engines.tensorrt_builder import Built
from runtime.engines.tensorrt_engine import TensorRTEngine
from runtime.errors import BadInput, BadModel, GpuLost, MienError, Unavailable
from runtime.golden import require_agreement
from runtime.prepare import prepare
from runtime.stream import StreamConfig, config_of, run_stream

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


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine()
    for module in (runtime.engines, runtime.prepare, prepared_engine):
        monkeypatch.setattr(module, "find_gpu", made.find_gpu)
    monkeypatch.setattr("runtime.engines.cuda_api.device_facts", made.device_facts)
    monkeypatch.setattr("runtime.engines.tensorrt_engine.TensorRTEngine", StandInEngine)
    monkeypatch.setattr(prepared_engine, "load_compiler", made.load_compiler)
    monkeypatch.setattr(prepared_engine, "compile_onnx", made.compile_onnx)
    yield made
    StandInEngine.fails, StandInEngine.wrong_by = None, 0.0


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "engines"


def test_the_stand_ins_take_what_the_real_ones_take() -> None:
    def words(function: Any) -> dict[str, Any]:
        return {name: (p.kind, p.default) for name, p in inspect.signature(function).parameters.items()}

    assert words(Machine().compile_onnx) == words(compile_onnx)
    assert words(device_facts) == {}
    assert words(StandInEngine).items() <= words(TensorRTEngine).items()


def test_importing_the_running_half_hides_no_function_of_the_package() -> None:
    """A module of the name `open_engine` in this package would take the function's place once it is imported."""
    assert inspect.isfunction(runtime.engines.open_engine) and inspect.isfunction(runtime.prepare.prepare)


# open_engine

@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_an_engine_is_compiled_once_and_answers_as_the_graph(
        machine: Machine, tiny_model: Path, cache: Path, target: str) -> None:
    model = load_model(tiny_model)
    for _ in range(2):
        engine = open_engine(model, "fp32", target, cache=cache)
        assert engine.target == target
        require_agreement(model, engine, "fp32")
    assert machine.compiled == [target]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision_of_the_shipped_model_is_its_own_engine_of_the_right_graph(
        machine: Machine, cache: Path, precision: str) -> None:
    model = load_model(Path("mien-light"))
    engine = open_engine(model, precision, "tensorrt", cache=cache)
    graph = graph_for(precision, engine.target)
    assert engine.precision == precision and graph == ("int8-gpu" if precision == "int8" else precision)
    sealed = next(cache.glob("*.engine")).read_bytes()
    assert sealed.endswith(MARK + model.read_graph(graph))
    assert json.loads(sealed.split(b"\n")[1])["key"]["graph_sha256"] == model.card.graphs[graph].sha256


def test_auto_takes_tensorrt_where_it_is(machine: Machine, tiny_model: Path, cache: Path) -> None:
    assert open_engine(load_model(tiny_model), "fp32", "auto", cache=cache).target == "tensorrt"


def test_auto_takes_tensorrt_rtx_where_only_that_is(machine: Machine, tiny_model: Path, cache: Path, caplog) -> None:
    del machine.libraries["tensorrt"]
    assert open_engine(load_model(tiny_model), "fp32", "auto", cache=cache).target == "tensorrt-rtx"
    assert caplog.records == []


def test_auto_stays_on_the_cpu_beside_a_gpu_without_a_library_and_says_why(
        machine: Machine, tiny_model: Path, cache: Path, caplog) -> None:
    machine.libraries.clear()
    assert open_engine(load_model(tiny_model), "fp32", "auto", cache=cache).target == "cpu"
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "tensorrt library" in caplog.text and "tensorrt-rtx library" in caplog.text and not cache.exists()


def test_auto_without_a_gpu_is_the_cpu_and_asks_no_library(
        machine: Machine, tiny_model: Path, cache: Path, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.gpu = ""
    monkeypatch.setattr(prepared_engine, "load_compiler", lambda target: pytest.fail("a library was loaded"))
    assert open_engine(load_model(tiny_model), "fp32", "auto", cache=cache).target == "cpu"
    assert caplog.records == []


def test_auto_does_not_hide_a_gpu_that_was_lost(machine: Machine, tiny_model: Path, cache: Path) -> None:
    StandInEngine.fails = GpuLost("expected the GPU to answer, found it lost")
    with pytest.raises(GpuLost):
        open_engine(load_model(tiny_model), "fp32", "auto", cache=cache)


def test_a_service_compiles_nothing_and_says_what_to_run(machine: Machine, tiny_model: Path, cache: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        open_engine(load_model(tiny_model), "fp32", "tensorrt", cache=cache, may_compile=False)
    command = f"mien prepare {tiny_model} --precision fp32 --target tensorrt --cache {cache}"
    assert str(caught.value) == (f"expected an engine for tensorrt 10.3.0 on Orin (sm87, CUDA 12.6) in {cache}, found "
                                 f"none; run {command}")
    assert machine.compiled == [] and not cache.exists()
    assert mien.make_parser().parse_args(command.split()[1:]).cache == cache


def test_a_service_on_auto_reads_faces_on_the_cpu_until_its_engine_is_prepared(
        machine: Machine, tiny_model: Path, cache: Path, caplog) -> None:
    model = load_model(tiny_model)
    assert open_engine(model, "fp32", "auto", cache=cache, may_compile=False).target == "cpu"
    assert "run mien prepare" in caplog.text
    prepare(model, "fp32", "auto", EngineCache(cache), 60)
    assert open_engine(model, "fp32", "auto", cache=cache, may_compile=False).target == "tensorrt"


@pytest.mark.parametrize("change", [
    lambda m: setattr(m, "device", SomeDevice(name="Thor", sm="sm110")),
    lambda m: m.libraries.update(tensorrt="10.16.0"),
    lambda m: setattr(m, "device", SomeDevice(cuda="13.2"))], ids=["gpu", "compiler", "cuda"])
def test_another_machine_around_the_same_cache_means_another_engine(
        machine: Machine, tiny_model: Path, cache: Path, change) -> None:
    model = load_model(tiny_model)
    open_engine(model, "fp32", "tensorrt", cache=cache)
    change(machine)
    with pytest.raises(Unavailable, match="found none; run mien prepare"):
        open_engine(model, "fp32", "tensorrt", cache=cache, may_compile=False)
    open_engine(model, "fp32", "tensorrt", cache=cache)
    assert machine.compiled == ["tensorrt"] * 2


def test_a_retrained_model_means_another_engine(machine: Machine, tiny_model: Path, cache: Path) -> None:
    open_engine(load_model(tiny_model), "fp32", "tensorrt", cache=cache)
    model = load_model(write_tiny_model(tiny_model, TinyNetwork.random(seed=5)))
    require_agreement(model, open_engine(model, "fp32", "tensorrt", cache=cache), "fp32")
    assert machine.compiled == ["tensorrt"] * 2


def test_a_compiler_that_was_updated_meanwhile_keeps_nothing(machine: Machine, tiny_model: Path, cache: Path) -> None:
    machine.compiled_by = "10.4.0"
    with pytest.raises(MienError, match=r"by tensorrt 10\.3\.0, found one by 10\.4\.0"):
        open_engine(load_model(tiny_model), "fp32", "tensorrt", cache=cache)
    assert list(cache.glob("*.engine")) == []


def test_an_engine_of_another_shape_than_the_card_says_is_closed_and_refused(
        machine: Machine, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(StandInEngine, "close", lambda self: closed.append(self))
    write_tiny_card(tiny_model, LABELS[:6])
    with pytest.raises(BadModel, match="expected 6 outputs for the card's labels"):
        open_engine(load_model(tiny_model), "fp32", "tensorrt", cache=cache)
    assert len(closed) == 1


def test_an_engine_is_compiled_and_opened_for_the_cards_batches(
        machine: Machine, tiny_model: Path, cache: Path) -> None:
    model = load_model(tiny_model)
    narrow = dataclasses.replace(model, card=dataclasses.replace(model.card, batches=(1, 2, 8)))
    engine = open_engine(narrow, "fp32", "tensorrt", cache=cache)
    assert isinstance(engine, StandInEngine) and engine.batches == machine.requests[0].batches == (1, 2, 8)
    open_engine(model, "fp32", "tensorrt", cache=cache)
    assert len(machine.compiled) == 2  # another profile is another engine


def test_a_gpu_target_without_a_gpu_points_to_the_cpu(tiny_model: Path, cache: Path, machine: Machine) -> None:
    machine.gpu = ""
    with pytest.raises(Unavailable, match="expected an NVIDIA GPU to run tensorrt on, found none; use --target cpu"):
        open_engine(load_model(tiny_model), "fp32", "tensorrt", cache=cache)


# mien prepare

def run_prepare(*words: object) -> int:
    return mien.main(["prepare", *map(str, words)])


def test_prepare_leaves_a_proven_engine_for_each_precision(machine: Machine, cache: Path, capsys) -> None:
    assert run_prepare("mien-light", "--precision", "fp16", "int8", "--cache", cache, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [e["precision"] for e in told["engines"]] == ["fp16", "int8"]
    assert all(e["compiled_now"] and 0 <= e["golden_difference"] <= e["golden_bound"] for e in told["engines"])
    assert {e["file"] for e in told["engines"]} == {str(p) for p in cache.glob("*.engine")}


def test_prepare_again_finds_and_proves_without_compiling(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    for word in ("compiled", "found"):
        assert run_prepare(tiny_model, "--cache", cache) == 0
        assert f"tensorrt 10.3.0 on Orin (sm87, CUDA 12.6), {word}: {cache}" in capsys.readouterr().err
    assert len(machine.compiled) == 1


def test_prepare_reads_the_services_own_configuration(
        machine: Machine, tiny_model: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "stream.yaml").write_text(
        f"source: '0'\nmodel: {tiny_model}\ntarget: tensorrt-rtx\ncache: kept/engines\n")
    assert run_prepare("--config", tmp_path / "stream.yaml") == 0
    assert open_engine(load_model(tiny_model), "fp32", "tensorrt-rtx", cache=cache, may_compile=False)


def test_an_engine_that_departs_from_pytorch_is_not_kept(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    StandInEngine.wrong_by = 1.0
    assert run_prepare(tiny_model, "--cache", cache) == 1
    assert "nothing was scored" in capsys.readouterr().err
    assert list(cache.glob("*.engine")) == [] and len(machine.compiled) == 1


def test_a_kept_engine_that_no_longer_opens_is_compiled_again_once_and_stays_until_the_next_is_proven(
        machine: Machine, tiny_model: Path, cache: Path) -> None:
    assert run_prepare(tiny_model, "--cache", cache) == 0
    before = {path: path.read_bytes() for path in cache.glob("*.engine")}
    StandInEngine.fails = BadModel("expected an engine that loads")
    assert run_prepare(tiny_model, "--cache", cache) == 2
    assert len(machine.compiled) == 2 and {path: path.read_bytes() for path in cache.glob("*.engine")} == before


def test_a_kept_engine_that_departs_is_replaced_by_one_that_does_not(
        machine: Machine, tiny_model: Path, cache: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_prepare(tiny_model, "--cache", cache) == 0
    StandInEngine.wrong_by = 1.0

    def compile_right(content: bytes, request: CompileRequest, watch: Any = None) -> Compiled:
        StandInEngine.wrong_by = 0.0
        compiled = machine.compile_onnx(content, request, watch)
        return dataclasses.replace(compiled, built=dataclasses.replace(compiled.built, layers=4))

    monkeypatch.setattr(prepared_engine, "compile_onnx", compile_right)
    capsys.readouterr()
    assert run_prepare(tiny_model, "--cache", cache, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["engines"]
    assert told["compiled_now"] and told["layers"] == 4
    (kept,) = cache.glob("*.engine")
    assert json.loads(kept.read_bytes().split(b"\n")[1])["layers"] == 4


@pytest.mark.parametrize("compiled_before", [True, False])
@pytest.mark.parametrize("failure", [CudaError("out of memory"), MienError("expected TensorRT to make a context")])
def test_an_error_that_is_not_the_engines_costs_no_engine(
        machine: Machine, tiny_model: Path, cache: Path, failure: MienError, compiled_before: bool) -> None:
    if compiled_before:
        assert run_prepare(tiny_model, "--cache", cache) == 0
    StandInEngine.fails = failure
    assert run_prepare(tiny_model, "--cache", cache) == 1
    assert len(machine.compiled) == 1 and len(list(cache.glob("*.engine"))) == 1
    StandInEngine.fails = None
    assert run_prepare(tiny_model, "--cache", cache) == 0 and len(machine.compiled) == 1


def test_a_card_without_a_bound_is_refused_before_anything_is_made(
        machine: Machine, tiny_model: Path, cache: Path) -> None:
    model = load_model(tiny_model)
    unbound = dataclasses.replace(model, card=dataclasses.replace(model.card, golden_bound={}))
    with pytest.raises(BadModel, match="expected a golden_bound for fp32"):
        prepare(unbound, "fp32", "tensorrt", EngineCache(cache), 60)
    assert not cache.exists()


def test_engines_of_one_call_that_exceed_the_quota_together_are_refused_and_the_proven_stay(
        machine: Machine, cache: Path, capsys) -> None:
    words = ("mien-light", "--precision", "fp32", "fp16", "int8", "--cache", cache)
    assert run_prepare(*words, "--quota-mb", 9) == 2
    said = capsys.readouterr().err
    assert "that must stay; raise --quota-mb" in said
    assert {path.name for path in cache.glob("*.engine")} == set(re.findall(r"[0-9a-f]{64}\.engine", said)) != set()
    assert run_prepare(*words, "--quota-mb", 100) == 0 and len(list(cache.glob("*.engine"))) == 3


def test_nobody_waits_for_the_inspector(machine: Machine, tiny_model: Path, cache: Path) -> None:
    assert run_prepare(tiny_model, "--cache", cache) == 0
    assert [request.inspect for request in machine.requests] == [False]


def test_a_gpu_that_is_lost_costs_no_engine(machine: Machine, tiny_model: Path, cache: Path) -> None:
    assert run_prepare(tiny_model, "--cache", cache) == 0
    StandInEngine.fails = GpuLost("expected the GPU to answer, found it lost")
    assert run_prepare(tiny_model, "--cache", cache) == 3
    assert len(machine.compiled) == 1 and len(list(cache.glob("*.engine"))) == 1


@pytest.mark.parametrize(("target", "gpu"), [("cpu", "NVIDIA"), ("auto", "")])
def test_the_cpu_needs_nothing_prepared(
        machine: Machine, tiny_model: Path, cache: Path, target: str, gpu: str, capsys) -> None:
    machine.gpu = gpu
    assert run_prepare(tiny_model, "--target", target, "--cache", cache) == 0
    assert f"{target} runs on the CPU here: nothing to prepare; " in capsys.readouterr().err and not cache.exists()


def test_auto_with_a_gpu_and_no_library_says_why_the_service_will_run_on_the_cpu(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    machine.libraries.clear()
    assert run_prepare(tiny_model, "--cache", cache, "--json") == 0
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "nothing to prepare; " in line and "tensorrt library" in line and "tensorrt-rtx library" in line
    told = json.loads(said.out)
    assert told["engines"] == [] and "tensorrt library" in told["on_cpu"]["fp32"]
    assert open_engine(load_model(tiny_model), "fp32", "auto", cache=cache, may_compile=False).target == "cpu"


def test_a_gpu_target_without_its_library_is_an_error_of_the_environment(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    machine.libraries.clear()
    assert run_prepare(tiny_model, "--target", "tensorrt", "--cache", cache) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_root_is_no_folder_for_engines(machine: Machine, tiny_model: Path, capsys) -> None:
    assert run_prepare(tiny_model, "--cache", "/") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [("--quota-mb", 0), ("--timeout", 0)])
def test_no_room_and_no_time_are_refused(machine: Machine, tiny_model: Path, cache: Path, words, capsys) -> None:
    assert run_prepare(tiny_model, "--cache", cache, *words) == 2
    assert "expected a quota and a time above 0" in capsys.readouterr().err


def test_a_model_without_golden_faces_is_refused_before_anything_is_made(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    (tiny_model / "golden.npz").unlink()
    assert run_prepare(tiny_model, "--cache", cache) == 2
    assert "golden.npz" in capsys.readouterr().err and not cache.exists()


def test_a_precision_the_model_lacks_is_refused_before_anything_is_made(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    assert run_prepare(tiny_model, "--precision", "int8", "--cache", cache) == 2
    assert "mien calibrate makes it" in capsys.readouterr().err and not cache.exists()


def test_an_unknown_target_is_refused(tiny_model: Path, cache: Path) -> None:
    with pytest.raises(BadInput):
        prepare(load_model(tiny_model), "fp32", "npu", EngineCache(cache), 60)


# mien stream

def stream_config(source: Path, cache: Path, **values: object) -> StreamConfig:
    return config_of({"source": str(source), "cache": cache, "threads": 1, **values})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    assert cv2.imwrite(str(tmp_path / "grey.png"), np.full((60, 80, 3), 127, np.uint8))
    return tmp_path / "grey.png"


def test_a_stream_runs_what_was_prepared_by_the_bound_of_the_graph_it_came_from(
        machine: Machine, picture: Path, cache: Path) -> None:
    model = load_model(Path("mien-light"))
    prepare(model, "int8", "auto", EngineCache(cache), 60)
    summary = run_stream(stream_config(picture, cache, precision="int8"))
    assert (summary.target, summary.golden_bound) == ("tensorrt", model.card.golden_bound["int8-gpu"])


def test_a_stream_compiles_nothing(machine: Machine, picture: Path, tiny_model: Path, cache: Path) -> None:
    with pytest.raises(Unavailable, match="found none; run mien prepare"):
        run_stream(stream_config(picture, cache, model=str(tiny_model), target="tensorrt"))
    assert machine.compiled == [] and not cache.exists()
