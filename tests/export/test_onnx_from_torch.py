"""PyTorch → ONNX: the same logits, any batch, and nothing of this machine in the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny_graphs import random_faces

from export.onnx_from_torch import onnx_from_torch
from runtime.errors import MienError
from train.expression.task import predict


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_graph_gives_pytorchs_logits_for_any_batch(tiny_export, run_onnx, count: int) -> None:
    faces = random_faces(count, seed=count)
    wanted = predict(tiny_export.network, faces)
    assert np.abs(wanted).max() > 0.1
    assert np.allclose(run_onnx(tiny_export.exported.content, faces), wanted, atol=1e-5)


def test_pixels_come_in_as_uint8_and_logits_leave_as_float32(tiny_export) -> None:
    graph = onnx.load_model_from_string(tiny_export.exported.content).graph
    described = [(v.name, v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in
                  v.type.tensor_type.shape.dim]) for v in (*graph.input, *graph.output)]
    assert described == [("faces", onnx.TensorProto.UINT8, ["batch", 1, 16, 16]),
                         ("logits", onnx.TensorProto.FLOAT, ["batch", 7])]


def test_batch_norms_are_folded_away(tiny_export) -> None:
    kinds = [n.op_type for n in onnx.load_model_from_string(tiny_export.exported.content).graph.node]
    assert "BatchNormalization" not in kinds and kinds.count("Conv") == 3


def test_the_bytes_hold_no_path_and_no_stack_trace(tiny_export) -> None:
    content = tiny_export.exported.content
    for trace in (str(Path(__file__).parents[2]).encode(), str(Path.home()).encode(), b"site-packages", b".py",
                  b"stack_trace", b"pkg.torch"):
        assert trace not in content


def test_the_same_network_gives_the_same_bytes(tiny_export) -> None:
    # exported twice: alone, and for the model directory
    assert (tiny_export.directory / "fp32.onnx").read_bytes() == tiny_export.exported.content


def test_a_network_that_answers_nan_is_not_believed(tiny_export) -> None:
    class Broken(type(tiny_export.network)):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(pixels).sub(1e9).sqrt()

    with pytest.raises(MienError, match="found |Δ| nan"):
        onnx_from_torch(Broken(), (1, 16, 16), "faces", "logits")
