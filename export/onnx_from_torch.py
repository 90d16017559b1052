"""A PyTorch network → one ONNX graph, through torch.export, simplified, and proven equal before it is believed.

Knows nothing of tasks: a network, its input's shape and names go in, bytes come out.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from torch import nn

from calibration.onnx_graph import OPSET
from runtime.errors import MienError

# float32 arithmetic in another order: a few units in the last place of a logit of about 10, through 13 layers
SIMPLIFY_BOUND = 1e-4


@dataclass(frozen=True)
class Exported:
    """ONNX bytes, and the largest departure that simplification made."""

    content: bytes
    simplify_delta: float
    nodes_before: int
    nodes_after: int


def onnx_from_torch(network: nn.Module, shape: tuple[int, int, int], input_name: str, output_name: str,
                    step: int = 0) -> Exported:
    """Export a network that takes (N, *shape) uint8 and returns float32; N is dynamic.

    step: height and width are too, as multiples of so many pixels; `shape` is one of them. Raises MienError where the
    simplified graph departs from the exporter's by more than `SIMPLIFY_BOUND`.
    """
    network = network.eval()
    sample = torch.zeros((2, *shape), dtype=torch.uint8)
    dynamic: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=65_536)}
    if step:
        dynamic |= {axis: step * torch.export.Dim(side, min=2, max=256) for axis, side in ((2, "rows"), (3, "columns"))}
    exporter_log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)  # it warns of every torchvision operator that is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own deprecations, which no user of ours can act on
            program = torch.onnx.export(network, (sample,), dynamo=True, opset_version=OPSET, verbose=False,
                                        dynamic_shapes=(dynamic,), input_names=[input_name],
                                        output_names=[output_name])
    finally:
        exporter_log.setLevel(level)
    if program is None:
        raise MienError("expected an ONNX program from PyTorch's exporter, found none")
    before = program.model_proto
    after, _ = onnxsim.simplify(before)
    after = without_traces(after)
    onnx.checker.check_model(after, full_check=True)
    delta = _largest_delta(before, after, shape, input_name)
    if not delta <= SIMPLIFY_BOUND:  # written so that NaN fails
        raise MienError(f"expected simplification to keep the logits within {SIMPLIFY_BOUND}, found |Δ| {delta:.2g}")
    return Exported(after.SerializeToString(), delta, len(before.graph.node), len(after.graph.node))


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's stack traces and metadata: they carry this machine's paths and change the hash."""
    for message in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
                    *model.graph.value_info, *model.graph.initializer):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    model.producer_name, model.producer_version = "mien", ""
    return model


def _largest_delta(before: onnx.ModelProto, after: onnx.ModelProto, shape: tuple[int, int, int], name: str) -> float:
    """Return the largest |Δ| of two graphs' outputs over 14 random and 2 constant images."""
    images = np.random.default_rng(0).integers(0, 256, (14, *shape), dtype=np.uint8)
    images = np.concatenate([images, np.zeros((1, *shape), np.uint8), np.full((1, *shape), 255, np.uint8)])
    results = []
    for model in (before, after):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        results.append(session.run(None, {name: images})[0])
    return float(np.abs(results[0] - results[1]).max())
