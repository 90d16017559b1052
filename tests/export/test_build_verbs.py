"""`mien build` from the command line: exit codes, its one line, and what it leaves."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from html_reader import Page
from inspector_samples import engine, faithful_layers, layer

import export.engine_from_onnx
import mien
from calibration.onnx_graph import parse_model
from export.engine_from_onnx import request_for
from runtime.card import Model
from runtime.engines.build_progress import shown_progress
from runtime.engines.compile import Compiled
from runtime.engines.cuda_api import DeviceFacts
from runtime.engines.tensorrt_builder import Built
from runtime.errors import Unavailable

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
JETSON = ["build", "mien-light", "--precision", "fp16", "--target", "tensorrt"]


@pytest.fixture
def faithful(shipped: Model, tmp_path: Path) -> Path:
    """What a device's inspector would tell of an engine that does what fp16.onnx asks."""
    path = tmp_path / "layers.json"
    path.write_text(engine(faithful_layers(parse_model(shipped.read_graph("fp16"), "fp16"), "fp16")))
    return path


@pytest.fixture
def unfaithful(shipped: Model, tmp_path: Path) -> Path:
    """The same of an engine that one convolution and one hidden subgraph keep from being it."""
    layers = faithful_layers(parse_model(shipped.read_graph("fp16"), "fp16"), "fp16")
    layers[3] = layer("node_Conv_158", "CaskConvolution", "float", "half", ("node_Conv_158",))
    layers.append(layer("{ForeignNode[a...b]}", "Myelin", "half", "half"))
    path = tmp_path / "wrong.json"
    path.write_text(engine(layers, 10))
    return path


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine whose compiler gives an engine and whose inspector tells what the list holds."""
    told: list[str] = []
    built = Built(b"engine", "10.3.0", 39, {"faces": "uint8"}, {"logits": "float"}, (), False)

    def compile_here(content: bytes, request: object, watch: object) -> Compiled:
        return Compiled(built, 1.0, 1 << 20, told[0] if told else "", "" if told else "the inspector died by signal 11")

    monkeypatch.setattr(export.engine_from_onnx, "compile_onnx", compile_here)
    return told


def test_a_saved_inspection_is_judged_without_building(faithful: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "layers.html"
    assert mien.main([*JETSON, "--inspect", str(faithful), "--layers", str(page), "--strict", "--json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["layers"] == {"as asked": 18, "opaque": 0, "not as asked": 0} and len(record["each"]) == 18
    assert "layers: 18 as asked, 0 opaque, 0 not as asked" in said.err
    assert [word for word in Page(page.read_text()).words if word.startswith("node_linear_myl0_")]


def test_strict_fails_on_a_layer_that_is_not_as_asked_and_lists_opaque_ones(unfaithful: Path, tmp_path: Path,
                                                                           capsys) -> None:
    page = tmp_path / "layers.html"
    assert mien.main([*JETSON, "--inspect", str(unfaithful), "--strict", "--layers", str(page)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "every layer as the graph asks, found 1 of 19 otherwise: node_Conv_158: float where" in said[-1]
    assert "opaque: {ForeignNode[a...b]}: a subgraph of Myelin, whose inside is not told" in said
    assert page.is_file()


def test_without_strict_departures_are_counted_only(unfaithful: Path, capsys) -> None:
    assert mien.main([*JETSON, "--inspect", str(unfaithful)]) == 0
    assert "1 not as asked" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{}"])
def test_a_file_that_is_no_inspection_is_one_line(tmp_path: Path, capsys, content: bytes | None) -> None:
    path = tmp_path / "layers.json"
    if content is not None:
        path.write_bytes(content)
    assert mien.main([*JETSON, "--inspect", str(path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"in {path}, found" in said[0] and "wrote on the device" in said[0]


def test_on_a_device_the_verdicts_stand_in_the_sidecar_and_the_json_beside_it(device: list[str], faithful: Path,
                                                                             tmp_path: Path) -> None:
    device.append(faithful.read_text())
    assert mien.main([*JETSON, "--out", str(tmp_path / "out"), "--strict"]) == 0
    stem = tmp_path / "out" / "mien-light-fp16-tensorrt-here"
    endings = {path.name.removeprefix(stem.name) for path in (tmp_path / "out").iterdir()}
    assert endings == {".engine", ".json", ".layers.json"}
    facts = json.loads(Path(f"{stem}.json").read_text())
    assert facts["layers"] == {"as asked": 18, "opaque": 0, "not as asked": 0}
    assert facts["layers_not_inspected"] is None
    assert mien.main([*JETSON, "--inspect", f"{stem}.layers.json", "--strict"]) == 0


def test_strict_leaves_no_engine_that_is_not_as_asked_but_its_page(device: list[str], unfaithful: Path,
                                                                   tmp_path: Path) -> None:
    device.append(unfaithful.read_text())
    page = tmp_path / "layers.html"
    assert mien.main([*JETSON, "--out", str(tmp_path / "out"), "--strict", "--layers", str(page)]) == 1
    assert not (tmp_path / "out").exists() and page.is_file()


def test_an_inspector_that_fails_keeps_the_engine_unless_layers_were_asked_for(device: list[str], tmp_path: Path,
                                                                              capsys) -> None:
    assert mien.main([*JETSON, "--out", str(tmp_path / "out")]) == 0
    assert "layers not inspected: the inspector died by signal 11" in capsys.readouterr().err
    assert mien.main([*JETSON, "--out", str(tmp_path / "other"), "--strict"]) == 3
    assert "found: the inspector died by signal 11; leave out" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_build_without_an_inspectors_answer_leaves_no_earlier_one(device: list[str], faithful: Path,
                                                                   tmp_path: Path) -> None:
    device.append(faithful.read_text())
    assert mien.main([*JETSON, "--out", str(tmp_path)]) == 0
    assert list(tmp_path.glob("*-here.layers.json"))
    device.clear()
    assert mien.main([*JETSON, "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*-here.layers.json"))


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/no/place"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_built(
        tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.setattr(export.engine_from_onnx, "compile_onnx", lambda *_: pytest.fail("it was built"))
    (tmp_path / "file").write_text("somebody's")
    assert mien.main([*JETSON, "--out", str(tmp_path / out)]) == 2
    assert "choose another --out" in capsys.readouterr().err and (tmp_path / "file").read_text() == "somebody's"


@pytest.mark.parametrize("flag", [["--strict"], ["--layers", "page.html"]])
def test_layers_ahead_of_time_are_refused_before_anything_is_built(tmp_path: Path, capsys, flag: list[str]) -> None:
    command = ["build", "mien-light", "--precision", "fp16", "--gpu", "sm86", "--out", str(tmp_path / "out"), *flag]
    assert mien.main(command) == 3
    assert "ahead of time; leave out --layers and --strict" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@needs_rtx
def test_static_is_a_batch_of_one_unless_another_is_said(tmp_path: Path, capsys) -> None:
    command = ["build", "mien-light", "--precision", "fp16", "--gpu", "sm86", "--out", str(tmp_path), "--json"]
    assert mien.main([*command, "--static"]) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == [1, 1, 1]
    assert mien.main([*command, "--static", "8"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["batches"] == [8, 8, 8] and "layers not inspected" in said.err
    assert {path.suffix for path in tmp_path.iterdir()} == {".engine", ".json"}


def test_static_and_batches_are_one_or_the_other(capsys) -> None:
    command = ["build", "mien-light", "--precision", "fp16", "--gpu", "sm86", "--static", "--batches", "1", "2", "4"]
    assert mien.main(command) == 2
    assert "found both" in capsys.readouterr().err


def test_limits_reach_the_request(device: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    real = export.engine_from_onnx.compile_onnx
    monkeypatch.setattr(export.engine_from_onnx, "compile_onnx",
                        lambda content, request, watch: heard.append(request) or real(content, request, watch))
    mien.main([*JETSON, "--out", str(tmp_path), "--workspace", "64", "--memory", "900", "--timeout", "7",
               "--batches", "1", "2", "4"])
    (request,) = heard
    assert dataclasses.astuple(request)[:2] == ("tensorrt", None) and request.batches == (1, 2, 4)
    assert request.inspect
    assert (request.workspace_bytes, request.memory_bytes, request.timeout_seconds) == (64 << 20, 900 << 20, 7)


class Desktop:
    """A machine with a GPU and TensorRT, as far as a timing cache's name asks."""

    def __init__(self) -> None:
        self.driver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1"
        self.device: DeviceFacts | Unavailable = DeviceFacts("NVIDIA RTX A2000", "sm86", "12.8", False)
        self.tensorrt = "10.13.0"

    def facts(self) -> DeviceFacts:
        if isinstance(self.device, Unavailable):
            raise self.device
        return self.device


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> Desktop:
    machine, module = Desktop(), export.engine_from_onnx
    monkeypatch.setattr(module, "find_gpu", lambda root: machine.driver)
    monkeypatch.setattr(module, "device_facts", machine.facts)
    monkeypatch.setattr(module, "load_compiler", lambda target: SimpleNamespace(__version__=machine.tensorrt))
    return machine


def timing_file(model: Model, folder: Path) -> str:
    return Path(request_for(model, "tensorrt", None, folder).timing_cache).name


def test_timings_are_kept_by_gpu_generation_and_compiler(desktop: Desktop, shipped: Model, tmp_path: Path) -> None:
    assert timing_file(shipped, tmp_path) == "nvidia-rtx-a2000-sm86-tensorrt-10.13.0.timing"
    assert Path(request_for(shipped, "tensorrt", None, tmp_path).timing_cache).parent == tmp_path


def test_another_driver_keeps_the_timings(desktop: Desktop, shipped: Model, tmp_path: Path) -> None:
    before = timing_file(shipped, tmp_path)
    desktop.driver = desktop.driver.replace("570", "580")
    assert timing_file(shipped, tmp_path) == before


@pytest.mark.parametrize("change", [
    {"tensorrt": "10.16.1"}, {"device": DeviceFacts("NVIDIA RTX 4000", "sm86", "12.8", False)},
    {"device": DeviceFacts("NVIDIA RTX A2000", "sm89", "12.8", False)}], ids=["compiler", "gpu", "generation"])
def test_another_gpu_or_compiler_has_timings_of_its_own(desktop: Desktop, shipped: Model, tmp_path: Path,
                                                        change: dict[str, object]) -> None:
    before = timing_file(shipped, tmp_path)
    vars(desktop).update(change)
    assert timing_file(shipped, tmp_path) != before


@pytest.mark.parametrize("change", [{"driver": ""}, {"device": Unavailable("expected cuda-python, found none")}],
                         ids=["no gpu", "no binding"])
def test_a_gpu_that_cannot_be_asked_keeps_no_timings(desktop: Desktop, shipped: Model, tmp_path: Path,
                                                     change: dict[str, object]) -> None:
    vars(desktop).update(change)
    assert request_for(shipped, "tensorrt", None, tmp_path).timing_cache == ""


def test_away_from_a_terminal_progress_is_a_plain_line_now_and_then(capsys) -> None:
    with shown_progress("fp16 for tensorrt", every=0) as watch:
        watch("Timing graph nodes", 3, 39)
    assert capsys.readouterr().err == "fp16 for tensorrt: Timing graph nodes, 3 of 39 steps, 0 s\n"
    with shown_progress("fp16 for tensorrt") as watch:
        watch("Timing graph nodes", 3, 39)
    assert capsys.readouterr().err == ""
