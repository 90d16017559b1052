"""Channel ranges: the largest magnitude of each channel, whatever the batches."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_graphs import random_faces, vgg_graph

from calibration.channel_ranges import channel_ranges
from calibration.exposed_graph import open_with_outputs
from calibration.onnx_graph import parse_model
from runtime.errors import BadInput, MienError

TENSOR = "Relu_4_out"


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return parse_model(vgg_graph().SerializeToString(), "tiny")


def test_a_range_is_the_largest_magnitude_of_its_channel(model: onnx.ModelProto) -> None:
    faces = random_faces(37)  # no multiple of the batch
    conv = next(n for n in model.graph.node if n.output[0] == TENSOR).input[0]
    found = channel_ranges(model, [TENSOR, conv], faces)
    wanted = open_with_outputs(model, [TENSOR, conv]).run([TENSOR, conv], {"faces": faces})
    for tensor, values in zip((TENSOR, conv), wanted):
        assert np.allclose(found[tensor], np.abs(values).max(axis=(0, 2, 3)), rtol=1e-5)
    assert (found[conv] > found[TENSOR]).any()  # negative values count too


def test_without_a_face_there_is_no_range(model: onnx.ModelProto) -> None:
    with pytest.raises(BadInput, match="at least one calibration face"):
        channel_ranges(model, [TENSOR], [])


def test_a_value_that_is_not_finite_is_named(model: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    bias = next(w for w in broken.graph.initializer if w.name.startswith("bias"))
    bias.CopyFrom(numpy_helper.from_array(np.full(8, np.nan, np.float32), bias.name))
    with pytest.raises(MienError, match="Conv_3_out among the images 0–3"):
        channel_ranges(broken, ["Conv_3_out"], random_faces(4))
