"""`mien prepare`: engines are compiled once, proven on the golden faces, and kept; what departs or fails costs none.

On a machine of stand-ins (prepared_machine.py). Card, graphs, golden faces, cache and seal are the real ones.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prepared_machine import Machine, StandInEngine
from tiny_model import TinyNetwork, write_tiny_card

import mien
from runtime.card import load_model
from runtime.engines import open_engine, prepared_engine
from runtime.engines.cache import EngineCache
from runtime.engines.compile import Compiled, CompileRequest
from runtime.engines.cuda_api import CudaError
from runtime.errors import BadInput, BadModel, GpuLost, MienError
from runtime.prepare import prepare


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "engines"


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
def test_the_cpu_needs_nothing_compiled_and_is_proven(
        machine: Machine, tiny_model: Path, cache: Path, target: str, gpu: str, capsys) -> None:
    machine.gpu = gpu
    assert run_prepare(tiny_model, "--target", target, "--cache", cache) == 0
    said = capsys.readouterr().err
    assert f"{target} runs on the CPU here: nothing to compile; " in said and "golden faces: worst" in said
    assert not cache.exists()


@pytest.mark.parametrize(("flags", "precisions"), [
    ([], ["fp32"]), (["--every"], ["fp32", "fp16", "int8"]),
    (["--precision", "int8", "--every"], ["int8", "fp32", "fp16"])])
def test_on_the_cpu_every_graph_that_a_stream_may_fall_back_to_is_proven(
        flags: list[str], precisions: list[str], cache: Path, capsys) -> None:
    assert run_prepare("mien-light", "--target", "cpu", "--cache", cache, *flags) == 0
    assert [line.split()[1].rstrip(":") for line in capsys.readouterr().err.splitlines()] == precisions


def test_a_graph_that_is_another_networks_is_found_on_the_cpu(tiny_model: Path, cache: Path, capsys) -> None:
    (tiny_model / "fp32.onnx").write_bytes(TinyNetwork.random(8).graph().SerializeToString())
    write_tiny_card(tiny_model)  # every hash fits
    assert run_prepare(tiny_model, "--target", "cpu", "--cache", cache) == 1
    assert "of PyTorch on the golden faces, found" in capsys.readouterr().err


def test_a_graph_that_onnx_runtime_does_not_know_is_found_on_the_cpu(tiny_model: Path, cache: Path, capsys) -> None:
    graph = TinyNetwork.random(0).graph()
    graph.graph.node[-1].op_type = "FromTomorrow"
    (tiny_model / "fp32.onnx").write_bytes(graph.SerializeToString())
    write_tiny_card(tiny_model)
    assert run_prepare(tiny_model, "--target", "cpu", "--cache", cache) == 2
    assert "FromTomorrow" in capsys.readouterr().err


def test_auto_with_a_gpu_and_no_library_says_why_the_service_will_run_on_the_cpu(
        machine: Machine, tiny_model: Path, cache: Path, capsys) -> None:
    machine.libraries.clear()
    assert run_prepare(tiny_model, "--cache", cache, "--json") == 0
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "nothing to compile; " in line and "tensorrt library" in line and "tensorrt-rtx library" in line
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
