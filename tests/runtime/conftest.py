"""A machine on which engines can be prepared and opened; see prepared_machine.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prepared_machine import Machine, StandInEngine

import runtime.engines
import runtime.prepare
from runtime.engines import prepared_engine


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
