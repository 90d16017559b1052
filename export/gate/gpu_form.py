"""The graph that a GPU would get, followed on this CPU. It says nothing of a GPU's own kernels.

fp16 is computed with every tensor rounded to half: ONNX Runtime's CPU computes it in float32, which would hide what
overflows; int8-gpu with its Q/DQ as they are written.
"""

from __future__ import annotations

from calibration.onnx_graph import parse_model
from export.half_arithmetic import half_arithmetic
from runtime.card import Model
from runtime.engines import open_graph_on_cpu
from runtime.engines.engine import Engine
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine


def open_gpu_form(model: Model, graph: str, threads: int = 0) -> Engine:
    """Open a graph as its GPU would compute it. Raises BadModel."""
    if graph != "fp16":
        return open_graph_on_cpu(model, graph, threads)
    name = str(model.directory / "fp16.onnx")
    rounded = half_arithmetic(parse_model(model.read_graph("fp16"), name))
    return OnnxRuntimeEngine(rounded.SerializeToString(), f"{name} in half's arithmetic", "fp16", threads)
