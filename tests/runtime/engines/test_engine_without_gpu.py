"""What can be said of an engine where there is no GPU, by NVIDIA's real library."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny_model import TinyNetwork

from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.cuda_api import device_facts
from runtime.engines.tensorrt_engine import TensorRTEngine
from runtime.errors import BadModel, Unavailable
from runtime.machine import find_gpu

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None,
                       reason='tensorrt_rtx is not installed: pip install "mien[rtx]" (x86-64 only)'),
    pytest.mark.skipif(bool(find_gpu(Path("/"))), reason="this machine has an NVIDIA GPU; tests/gpu asks it")]


@pytest.fixture(scope="module")
def engine() -> bytes:
    """A real engine for another machine."""
    graph = TinyNetwork.random().graph().SerializeToString()
    return compile_onnx(graph, CompileRequest("tensorrt-rtx", "sm86", "faces", (1, 48, 48))).built.content


def open_it(content: bytes) -> None:
    TensorRTEngine(content, "m.engine", "fp32", "tensorrt-rtx")


@pytest.mark.parametrize("content", [b"hello", b"\0" * 1000, b"ONNX, say" * 100], ids=["text", "zeros", "other"])
def test_a_file_that_is_no_engine_is_malformed_even_here(content: bytes) -> None:
    with pytest.raises(BadModel, match="found m.engine: malformed engine; build it again") as caught:
        open_it(content)
    assert "\n" not in str(caught.value)


def test_zero_bytes_are_an_empty_file() -> None:
    with pytest.raises(BadModel, match="found an empty file: m.engine"):
        open_it(b"")


def test_a_well_formed_engine_is_not_called_malformed_but_lacks_its_gpu(engine: bytes) -> None:
    with pytest.raises(Unavailable, match="expected .* GPU, found n.*pip install") as caught:
        open_it(engine)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


def test_a_machine_without_a_gpu_has_no_facts_but_a_way_to_get_them() -> None:
    with pytest.raises(Unavailable, match=r'GPU, found n.*pip install "mien\[jetson\]"'):
        device_facts()
