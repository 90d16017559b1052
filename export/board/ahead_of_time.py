"""Every graph through TensorRT-RTX for all desktop GPUs that it knows, on any x86-64 machine: compiled, and not run.

Says that NVIDIA's parser and compiler take the graphs. It is no evidence for the machine that compiled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from export.board.task import Measured, Task, of_every_precision
from export.engine_from_onnx import compile_model, request_for
from runtime.engines.tensorrt_api import load_compiler

TARGET = "tensorrt-rtx"


def build_ahead_of_time(task: Task) -> Measured:
    """Compile every precision; each row is a `record.Build`. Raises Unavailable without the library."""
    load_compiler(TARGET)
    model = task.open_model()
    request = replace(request_for(model, TARGET, "all"), timeout_seconds=task.timeout_seconds)

    def row(precision: str) -> dict[str, Any]:
        facts = compile_model(model, precision, request).facts
        return {"precision": precision, "graph_sha256": facts["graph_sha256"], "target": TARGET,
                "compiler": facts["compiler_version"], "gpus": facts["gpus"], "engine_bytes": facts["engine_bytes"],
                "peak_bytes": facts["build_peak_bytes"], "seconds": facts["build_seconds"]}

    return of_every_precision(row)
