"""Engines by NVIDIA's real compiler, in its child process, without a GPU."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from tiny_graphs import attention_graph, random_faces
from torch import Tensor, nn

from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from export.engine_from_onnx import BuiltEngine, engine_from_onnx, request_for
from export.half_from_onnx import half_from_onnx
from export.int8.int8_from_onnx import Rounding, int8_from_onnx
from export.onnx_from_torch import onnx_from_torch
from runtime.card import FileEntry, Model, load_model, save_card
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import find_gpu
from train.networks.convolutions import plain_conv
from train.networks.lip import LocalImportancePooling
from train.networks.normalize import Normalize
from train.networks.scse import ConcurrentSqueezeExcitation

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
RTX = "tensorrt-rtx"


SMALL = (1, 16, 16)


def request(gpu: str | None = "sm86", **changes: object) -> CompileRequest:
    """A request for the tiny graphs."""
    return CompileRequest(RTX, gpu, "faces", SMALL, **changes)  # type: ignore[arg-type]


def build(model: Model, precision: str, out: Path, target: str = RTX, gpu: str | None = "sm86",
          **changes: object) -> BuiltEngine:
    wanted = dataclasses.replace(request_for(model, target, gpu), **changes)  # type: ignore[arg-type]
    return engine_from_onnx(model, precision, wanted, out)


@needs_rtx
@PRECISIONS
def test_the_shipped_model_compiles_for_sm86(shipped: Model, tmp_path: Path, precision: str) -> None:
    built = build(shipped, precision, tmp_path)
    assert built.engine.stat().st_size > 100_000
    assert built.facts["network_layers"] >= 29  # Cast, Mul, Add and thirteen layers with their ReLUs and poolings
    assert built.facts["inputs"] == {"faces": "uint8"} and built.facts["outputs"] == {"logits": "float"}


@needs_rtx
def test_int8_means_the_gpu_form(shipped: Model, tmp_path: Path) -> None:
    built = build(shipped, "int8", tmp_path)
    assert built.facts["graph"] == "int8-gpu"
    assert built.facts["graph_sha256"] == shipped.card.graphs["int8-gpu"].sha256


@needs_rtx
def test_the_sidecar_binds_graph_compiler_and_engine(tiny_export, tmp_path: Path) -> None:
    built = build(load_model(tiny_export.directory), "fp32", tmp_path)
    facts = json.loads(built.sidecar.read_text())
    content = built.engine.read_bytes()
    assert facts["engine_sha256"] == hashlib.sha256(content).hexdigest() and facts["engine_bytes"] == len(content)
    assert facts["compiler_version"][0].isdigit() and facts["gpu"] == "sm86" and facts["tf32"] is False
    assert {p.name for p in tmp_path.iterdir()} == {built.engine.name, built.sidecar.name}


@needs_rtx
def test_every_batch_of_the_profile_is_in_the_sidecar(tiny_export, tmp_path: Path) -> None:
    built = build(load_model(tiny_export.directory), "fp16", tmp_path)
    assert built.facts["batches"] == [1, 4, 64]


@needs_rtx
def test_an_unknown_gpu_is_refused_with_the_known_ones(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"sm86.*found sm53"):
        build(shipped, "fp32", tmp_path / "engines", gpu="sm53")
    assert not (tmp_path / "engines").exists()


class Faces(CalibrationDataReader):
    """Eight faces, one at a time, as ONNX Runtime's tool asks for them."""

    def __init__(self) -> None:
        self.left = [{"faces": face[None]} for face in random_faces(8)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@needs_rtx
def test_onnx_runtimes_own_int8_graph_is_rejected_with_the_parsers_reason(tiny_export, tmp_path: Path) -> None:
    """Why `calibration/quantize.py` exists: an int32 bias behind DequantizeLinear is not for TensorRT."""
    (tmp_path / "fp32.onnx").write_bytes(tiny_export.exported.content)
    quantize_static(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", Faces(), quant_format=QuantFormat.QDQ)
    with pytest.raises(BadModel, match=r"has type Int32 but must have type") as caught:
        compile_onnx((tmp_path / "int8.onnx").read_bytes(), request())
    assert "\n" not in str(caught.value)


@needs_rtx
def test_our_int8_graph_of_the_same_network_is_accepted(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    int8_from_onnx(load_model(directory), random_faces(32), Rounding("max"), {})
    assert build(load_model(directory), "int8", tmp_path / "out").engine.is_file()


@needs_rtx
def test_bytes_that_are_no_graph_are_refused_by_the_parser() -> None:
    with pytest.raises(BadModel, match="parses, found"):
        compile_onnx(b"no protobuf at all", request())


@needs_rtx
def test_a_build_that_takes_too_long_is_stopped(tiny_export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(MienError, match="still running and stopped it; raise --timeout"):
        compile_onnx(tiny_export.exported.content, request(timeout_seconds=0.05))
    assert time.monotonic() - began < 10
    assert children() == [] and list(tmp_path.iterdir()) == []


@needs_rtx
def test_a_compiler_that_dies_is_an_error_that_says_how(shipped: Model, tmp_path: Path) -> None:
    def kill_it() -> None:
        for _ in range(2000):
            for child in children():
                os.kill(child, signal.SIGKILL)
                return
            time.sleep(0.005)

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(MienError, match="dead by signal 9"):
        build(shipped, "fp32", tmp_path / "out")
    killer.join()
    assert not (tmp_path / "out").exists()


def children() -> list[int]:
    """Return the compiler processes that this test process started and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = place.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"mien-compile-" in place.joinpath("cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:  # it ended while we looked
            continue
    return found


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed here")
def test_a_missing_library_says_how_to_get_it(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"python3-libnvinfer.*pip install tensorrt"):
        build(shipped, "fp32", tmp_path, "tensorrt", None)


@pytest.mark.parametrize("target", ["cpu", "auto"])
def test_a_target_that_is_not_compiled_for_is_refused(shipped: Model, tmp_path: Path, target: str) -> None:
    with pytest.raises(BadInput, match=f"found {target}"):
        build(shipped, "fp32", tmp_path, target, None)


@needs_rtx
def test_a_graph_that_is_not_the_cards_never_reaches_the_compiler(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    content = bytearray((directory / "fp32.onnx").read_bytes())
    content[-200] ^= 1
    (directory / "fp32.onnx").write_bytes(content)
    with pytest.raises(BadModel, match="hash"):
        build(load_model(directory), "fp32", tmp_path / "out")


@needs_rtx
def test_attention_and_depth_wise_convolutions_compile_in_every_precision() -> None:
    """light-vgg16's attention and separable convolutions, small."""
    model = parse_model(attention_graph().SerializeToString(), "tiny")
    chosen = plan(model)
    int8 = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "gpu")
    for graph in (model, half_from_onnx(model), half_from_onnx(int8)):
        assert compile_onnx(graph.SerializeToString(), request()).built.content


@needs_rtx
@pytest.mark.skipif(bool(find_gpu(Path("/"))), reason="this machine has an NVIDIA GPU to build for")
def test_building_for_the_gpu_that_is_here_needs_one(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="say --gpu sm86"):
        build(shipped, "fp16", tmp_path, gpu=None)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_one_engine_for_every_generation_says_which(shipped: Model, tmp_path: Path) -> None:
    built = build(shipped, "int8", tmp_path, gpu="all")
    assert built.engine.name == "mien-light-int8-tensorrt-rtx-all.engine"
    assert {"sm75", "sm80", "sm86", "sm89", "sm120"} <= set(built.facts["gpus"]) and built.facts["gpus_left_out"] == {}


@needs_rtx
def test_a_generation_that_refuses_the_graph_is_left_out_of_all_and_named(shipped: Model, tmp_path: Path) -> None:
    """TensorRT-RTX 1.7 makes no float32 matrix product for Turing."""
    facts = build(shipped, "fp32", tmp_path, gpu="all").facts
    assert set(facts["gpus_left_out"]) == {"sm75"} and "sm75" not in facts["gpus"] and "sm86" in facts["gpus"]
    assert "FP32 GEMM is not supported" in facts["gpus_left_out"]["sm75"]


@needs_rtx
def test_a_generation_that_refuses_the_graph_is_an_error_where_it_was_named(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(MienError, match="FP32 GEMM is not supported.*try another precision") as caught:
        build(shipped, "fp32", tmp_path / "out", gpu="sm75,sm86")
    assert caught.value.exit_code == 1 and not (tmp_path / "out").exists()


@needs_rtx
@pytest.mark.parametrize("batches", [(1, 1, 1), (1, 1, 64), (10, 40, 640)], ids=["static", "1–64", "ten crops"])
def test_every_batch_profile_compiles(shipped: Model, tmp_path: Path, batches: tuple[int, int, int]) -> None:
    facts = build(shipped, "int8", tmp_path, batches=batches).facts
    assert facts["batches"] == list(batches) and facts["engine_bytes"] > 100_000


@needs_rtx
def test_a_fixed_shape_is_another_engine_under_another_name(shipped: Model, tmp_path: Path) -> None:
    fixed, free = build(shipped, "int8", tmp_path, batches=(1, 1, 1)), build(shipped, "int8", tmp_path)
    assert fixed.engine.name == "mien-light-int8-tensorrt-rtx-sm86-batch1.engine"
    assert fixed.facts["engine_memory"]["activation_bytes"] < free.facts["engine_memory"]["activation_bytes"]


def test_the_batches_come_from_the_card(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    card = load_model(directory).card
    save_card(directory, dataclasses.replace(card, batches=(2, 2, 8)))
    assert request_for(load_model(directory), RTX, "sm86").batches == (2, 2, 8)


@pytest.mark.parametrize("batches", [(0, 1, 2), (4, 2, 8), (1, 8, 4)])
def test_batches_that_do_not_grow_are_refused(shipped: Model, tmp_path: Path, batches: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput, match="batches that grow"):
        build(shipped, "fp16", tmp_path, batches=batches)
    with pytest.raises(ValueError, match="batches that grow"):
        dataclasses.replace(shipped.card, batches=batches)


@needs_rtx
def test_the_sidecar_says_what_the_engine_and_its_build_take(shipped: Model, tmp_path: Path) -> None:
    facts = build(shipped, "fp16", tmp_path).facts
    graph = parse_model(shipped.read_graph("fp16"), "fp16").graph
    stored = sum(numpy_helper.to_array(weight).size for weight in graph.initializer)
    assert 2 * stored * 0.95 < facts["engine_memory"]["weights_bytes"] < 2 * stored * 1.5
    assert facts["engine_memory"]["activation_bytes"] > 64 * 48 * 48
    assert 50 << 20 < facts["build_peak_bytes"] < 4 << 30
    assert facts["layers"] is None and "needs the GPU" in facts["layers_not_inspected"]


@needs_rtx
def test_lints_advice_stands_behind_the_parsers_error(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    card = load_model(directory).card
    quantize_static(tiny_export.directory / "fp32.onnx", directory / "fp32.onnx", Faces(), quant_format=QuantFormat.QDQ)
    save_card(directory, dataclasses.replace(card, graphs={"fp32": FileEntry.of(directory / "fp32.onnx")}))
    with pytest.raises(BadModel, match=r"Int32 but must have type.*; mien lint says: .*\(bias-int32\)") as caught:
        build(load_model(directory), "fp32", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


class AwkwardNetwork(nn.Module):
    """What trips compilers: LIP (exp, average pools, instance norm), scSE (two gates added), uint8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(Normalize(), plain_conv(1, 8), LocalImportancePooling(8), plain_conv(8, 8),
                                    ConcurrentSqueezeExcitation(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                    nn.Linear(8, 7))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)


@pytest.fixture(scope="module")
def awkward() -> onnx.ModelProto:
    torch.manual_seed(0)
    return parse_model(onnx_from_torch(AwkwardNetwork().eval(), SMALL, "faces", "logits").content, "awkward")


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_lip_and_scse_compile_in_every_precision(awkward: onnx.ModelProto, precision: str) -> None:
    assert {"Exp", "InstanceNormalization", "Sigmoid"} <= {node.op_type for node in awkward.graph.node}
    graph = awkward
    if precision == "int8":
        chosen = plan(awkward)
        graph = quantize(awkward, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "gpu")
    if precision != "fp32":
        graph = half_from_onnx(graph)
    built = compile_onnx(graph.SerializeToString(), request()).built
    assert built.content and built.inputs == {"faces": "uint8"}
