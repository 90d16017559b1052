"""One network → the whole road: ONNX, FP16, both forms of INT8, NVIDIA's compiler; and the figures met on it.

Knows nothing of which networks there are, or of trained weights: its figures prove the road, not a model's worth.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from torch import nn

from calibration.observe import observe
from calibration.onnx_graph import multiply_adds, parse_model
from calibration.pixel_grid import choose_scales
from calibration.quantize import Plan, plan, quantize
from export.half_from_onnx import half_from_onnx
from export.half_range import HalfRange, HalfWatcher
from export.onnx_from_torch import onnx_from_torch
from runtime.engines.compile import CompileRequest, compile_onnx
from runtime.engines.face_batches import run_all
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadModel, MienError
from train.expression.task import predict
from train.networks import count_parameters

COMPILED = ("fp32", "fp16", "int8-gpu")  # what a GPU is given; int8 is the CPU's form
SECONDS = 600.0  # one build's limit; the largest takes a few
LARGE_WORKSPACE = 2 << 30  # bytes: 64 faces of 112×112 want more scratch memory than an Orin Nano can spare


@dataclass(frozen=True)
class EngineFigures:
    """What NVIDIA's compiler made of one graph, or why it made nothing; with how much scratch memory (bytes)."""

    status: str
    bytes: int = 0
    layers: int = 0
    seconds: float = 0.0
    workspace_bytes: int = 0


@dataclass(frozen=True)
class Against:
    """A graph's logits against fp32.onnx: share of equal labels, largest |Δ|; NaN where a logit is not finite."""

    agreement: float
    delta: float


@dataclass(frozen=True)
class Figures:
    """One network's figures. Deltas are of logits; `faces` were compared, as many others calibrated."""

    parameters: int
    multiply_adds: int
    faces: int
    onnx_bytes: dict[str, int]
    fp16_sha256: str
    simplify_delta: float
    fp32_delta: float  # to PyTorch
    against_fp32: dict[str, Against]
    half: HalfRange
    quantized_nodes: int
    kept_float: int
    engines: dict[str, EngineFigures]
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class _Watch:
    """Seconds a stage took, by its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stage(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self._last = round(now - self._last, 1), now


def travel(network: nn.Module, calibration: np.ndarray, faces: np.ndarray, gpu: str = "sm86",
           compiled: tuple[str, ...] = COMPILED) -> Figures:
    """Take a network down the whole road with two sets of (N, C, H, W) uint8 faces.

    gpu: which generation to compile for. Raises BadModel or MienError where a step before the compiler fails; what the
    compiler says is a figure.
    """
    shape = (int(faces.shape[1]), int(faces.shape[2]), int(faces.shape[3]))
    watch = _Watch()
    exported = onnx_from_torch(network, shape, "faces", "logits")
    fp32 = parse_model(exported.content, "fp32.onnx")
    watch.stage("export")
    fp16 = half_from_onnx(fp32)
    chosen, forms = int8_forms(fp32, calibration)
    graphs = {"fp32": fp32, "fp16": fp16} | forms
    contents = {"fp32": exported.content} | {
        name: graphs[name].SerializeToString() for name in ("fp16", "int8", "int8-gpu")}
    watch.stage("quantize")
    reference = _logits(contents["fp32"], faces)
    half, half_range = HalfWatcher(fp16).run(faces)
    answers = {"fp16": half, "int8": _logits(contents["int8"], faces),
               "int8-gpu": HalfWatcher(graphs["int8-gpu"]).run(faces)[0]}
    delta = float(np.abs(predict(network, faces, 64).astype(np.float64) - reference).max())
    watch.stage("compare")
    engines = {name: compile_graph(contents[name], shape, gpu) for name in compiled}
    watch.stage("compile")
    return Figures(
        parameters=count_parameters(network), multiply_adds=multiply_adds(fp32), faces=len(faces),
        onnx_bytes={name: len(content) for name, content in contents.items()},
        fp16_sha256=hashlib.sha256(contents["fp16"]).hexdigest(), simplify_delta=exported.simplify_delta,
        fp32_delta=delta, against_fp32={name: _against(reference, logits) for name, logits in answers.items()},
        half=half_range, quantized_nodes=len(chosen.nodes), kept_float=len(chosen.kept_float), engines=engines,
        seconds=watch.seconds,
    )


def int8_forms(fp32: onnx.ModelProto, calibration: np.ndarray) -> tuple[Plan, dict[str, onnx.ModelProto]]:
    """Return what is quantized, and both INT8 forms of a graph, their ranges the largest values of (N, C, H, W) faces.

    Raises BadModel, MienError.
    """
    chosen = plan(fp32)
    histograms = observe(fp32, chosen.tensors, calibration)
    scales = choose_scales(fp32, histograms, "max", 100)
    return chosen, {"int8": quantize(fp32, chosen, scales, "cpu"),
                    "int8-gpu": half_from_onnx(quantize(fp32, chosen, scales, "gpu"))}


def half_graph(network: nn.Module, shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Return the fp16 graph that `travel` makes of a network."""
    return half_from_onnx(parse_model(onnx_from_torch(network, shape, "faces", "logits").content, "fp32.onnx"))


def _logits(content: bytes, faces: np.ndarray) -> np.ndarray:
    engine = OnnxRuntimeEngine(content, "the graph", "fp32")
    return run_all(lambda batch: engine.run({"faces": np.ascontiguousarray(batch)})["logits"], faces, "faces")


def _against(reference: np.ndarray, logits: np.ndarray) -> Against:
    return Against(round(float((reference.argmax(1) == logits.argmax(1)).mean()), 4),
                   float(np.abs(reference.astype(np.float64) - logits).max()))


def compile_graph(content: bytes, shape: tuple[int, int, int], gpu: str) -> EngineFigures:
    """Compile a graph of (N, *shape) faces with TensorRT-RTX for a GPU generation; a refusal is a figure too.

    Where the scratch memory that a small board can spare is too little, it is tried once more with `LARGE_WORKSPACE`.
    """
    request = CompileRequest("tensorrt-rtx", gpu, "faces", shape, timeout_seconds=SECONDS)
    figures = _compiled(content, request)
    if "OutOfMemory" in figures.status:
        figures = _compiled(content, replace(request, workspace_bytes=LARGE_WORKSPACE))
    return figures


def _compiled(content: bytes, request: CompileRequest) -> EngineFigures:
    try:
        done = compile_onnx(content, request)
    except (BadModel, MienError) as error:  # Unavailable too: a record must say that nothing was compiled
        return EngineFigures(str(error))
    return EngineFigures("built", len(done.built.content), done.built.layers, round(done.seconds, 1),
                         request.workspace_bytes)
