"""`open_engine` and `mien stream` for TensorRT's targets: GPU → library → cache or compiler → engine.

On a machine of stand-ins (prepared_machine.py). Card, graphs, golden faces, cache and seal are the real ones.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cached_engines import SomeDevice
from prepared_machine import MARK, Machine, StandInEngine
from tiny_model import LABELS, TinyNetwork, write_tiny_card, write_tiny_model

import mien
import runtime.engines
import runtime.prepare
from runtime.card import load_model
from runtime.engines import graph_for, open_engine, prepared_engine
from runtime.engines.cache import EngineCache
from runtime.engines.compile import compile_onnx
from runtime.engines.cuda_api import device_facts
from runtime.engines.tensorrt_engine import TensorRTEngine
from runtime.errors import BadModel, GpuLost, MienError, Unavailable
from runtime.golden import require_agreement
from runtime.prepare import prepare
from runtime.stream import StreamConfig, config_of, run_stream


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
