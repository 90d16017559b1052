"""Engines by NVIDIA's real compiler, in its child process, without a GPU."""

from __future__ import annotations

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
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from tiny_graphs import attention_graph, random_faces

from calibration.onnx_graph import parse_model
from calibration.quantize import plan, quantize
from export.engine_from_onnx import engine_from_onnx
from export.half_from_onnx import half_from_onnx
from export.int8_from_onnx import Rounding, int8_from_onnx
from runtime.card import Model, load_model
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.errors import BadInput, BadModel, MienError, Unavailable
from runtime.machine import find_gpu

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                               reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)')
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
RTX = "tensorrt-rtx"


def request_for(shape: tuple[int, int, int], gpu: str | None = "sm86", seconds: float = 120.0) -> CompileRequest:
    return CompileRequest(RTX, gpu, "faces", shape, timeout_seconds=seconds)


@needs_rtx
@PRECISIONS
def test_the_shipped_model_compiles_for_sm86(shipped: Model, tmp_path: Path, precision: str) -> None:
    built = engine_from_onnx(shipped, precision, RTX, "sm86", tmp_path, 240)
    assert built.engine.stat().st_size > 100_000
    assert built.facts["network_layers"] >= 29  # Cast, Mul, Add and thirteen layers with their ReLUs and poolings
    assert built.facts["inputs"] == {"faces": "uint8"} and built.facts["outputs"] == {"logits": "float"}


@needs_rtx
def test_int8_means_the_gpu_form(shipped: Model, tmp_path: Path) -> None:
    built = engine_from_onnx(shipped, "int8", RTX, "sm86", tmp_path, 240)
    assert built.facts["graph"] == "int8-gpu"
    assert built.facts["graph_sha256"] == shipped.card.graphs["int8-gpu"].sha256


@needs_rtx
def test_the_sidecar_binds_graph_compiler_and_engine(tiny_export, tmp_path: Path) -> None:
    built = engine_from_onnx(load_model(tiny_export.directory), "fp32", RTX, "sm86", tmp_path, 120)
    facts = json.loads(built.sidecar.read_text())
    content = built.engine.read_bytes()
    assert facts["engine_sha256"] == hashlib.sha256(content).hexdigest() and facts["engine_bytes"] == len(content)
    assert facts["compiler_version"][0].isdigit() and facts["gpu"] == "sm86" and facts["tf32"] is False
    assert {p.name for p in tmp_path.iterdir()} == {built.engine.name, built.sidecar.name}


@needs_rtx
def test_every_batch_of_the_profile_is_in_the_sidecar(tiny_export, tmp_path: Path) -> None:
    built = engine_from_onnx(load_model(tiny_export.directory), "fp16", RTX, "sm86", tmp_path, 120)
    assert built.facts["batches"] == [1, 4, 64]


@needs_rtx
def test_an_unknown_gpu_is_refused_with_the_known_ones(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"sm86.*found sm53"):
        engine_from_onnx(shipped, "fp32", RTX, "sm53", tmp_path / "engines", 120)
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
        compile_onnx((tmp_path / "int8.onnx").read_bytes(), request_for((1, 16, 16)))
    assert "\n" not in str(caught.value)


@needs_rtx
def test_our_int8_graph_of_the_same_network_is_accepted(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    int8_from_onnx(load_model(directory), random_faces(32), Rounding("max"), {})
    assert engine_from_onnx(load_model(directory), "int8", RTX, "sm86", tmp_path / "out", 120).engine.is_file()


@needs_rtx
def test_bytes_that_are_no_graph_are_refused_by_the_parser() -> None:
    with pytest.raises(BadModel, match="parses, found"):
        compile_onnx(b"no protobuf at all", request_for((1, 16, 16)))


@needs_rtx
def test_a_build_that_takes_too_long_is_stopped(tiny_export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(MienError, match="still running and stopped it; raise --timeout"):
        compile_onnx(tiny_export.exported.content, request_for((1, 16, 16), seconds=0.05))
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
        engine_from_onnx(shipped, "fp32", RTX, "sm86", tmp_path / "out", 120)
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
        engine_from_onnx(shipped, "fp32", "tensorrt", None, tmp_path, 120)


@pytest.mark.parametrize("target", ["cpu", "auto"])
def test_a_target_that_is_not_compiled_for_is_refused(shipped: Model, tmp_path: Path, target: str) -> None:
    with pytest.raises(BadInput, match=f"found {target}"):
        engine_from_onnx(shipped, "fp32", target, None, tmp_path, 120)


@needs_rtx
def test_a_graph_that_is_not_the_cards_never_reaches_the_compiler(tiny_export, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_export.directory, tmp_path / "model")
    content = bytearray((directory / "fp32.onnx").read_bytes())
    content[-200] ^= 1
    (directory / "fp32.onnx").write_bytes(content)
    with pytest.raises(BadModel, match="hash"):
        engine_from_onnx(load_model(directory), "fp32", RTX, "sm86", tmp_path / "out", 120)


@needs_rtx
def test_attention_and_depth_wise_convolutions_compile_in_every_precision() -> None:
    """light-vgg16's attention and separable convolutions, small."""
    model = parse_model(attention_graph().SerializeToString(), "tiny")
    chosen = plan(model)
    int8 = quantize(model, chosen, dict.fromkeys(chosen.tensors, np.float32(0.0625)), "gpu")
    for graph in (model, half_from_onnx(model), half_from_onnx(int8)):
        assert compile_onnx(graph.SerializeToString(), request_for((1, 16, 16))).built.content


@needs_rtx
@pytest.mark.skipif(bool(find_gpu(Path("/"))), reason="this machine has an NVIDIA GPU to build for")
def test_building_for_the_gpu_that_is_here_needs_one(shipped: Model, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="say --gpu sm86"):
        engine_from_onnx(shipped, "fp16", RTX, None, tmp_path, 120)
    assert list(tmp_path.iterdir()) == []
