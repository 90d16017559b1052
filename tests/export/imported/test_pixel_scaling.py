"""Pixels scaled in the graph are those that the training's transforms made, whatever mean and deviation."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from export.imported.pixel_scaling import KNOWN, PixelScaling, scaling_of
from runtime.errors import BadInput

FACES = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
VALUES = st.tuples(st.floats(-1, 1, width=32), st.floats(1 / 256, 1, width=32))


def in_a_graph(scaling: PixelScaling, faces: np.ndarray, channels: int) -> np.ndarray:
    """Run the scaling's nodes in ONNX Runtime."""
    nodes, constants = scaling.nodes("faces", "floats", channels, faces.shape[1] != channels)
    graph = helper.make_graph(
        nodes, "scaling", [helper.make_tensor_value_info("faces", TensorProto.UINT8, faces.shape)],
        [helper.make_tensor_value_info("floats", TensorProto.FLOAT, [len(faces), channels, *faces.shape[2:]])],
        constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"faces": faces})[0]


@settings(max_examples=30, deadline=None)
@given(values=st.lists(VALUES, min_size=3, max_size=3), many=st.booleans(), repeats=st.booleans())
def test_graph_and_numpy_scale_alike(values: list[tuple[float, float]], many: bool, repeats: bool) -> None:
    mean, std = zip(*(values if many else values[:1]))
    scaling = PixelScaling(mean, std)
    faces = FACES if repeats else np.repeat(FACES, 3, axis=1)
    wanted = scaling.floats(faces, 3)
    np.testing.assert_allclose(in_a_graph(scaling, faces, 3), wanted, rtol=1e-5, atol=1e-4)  # of up to 512
    assert wanted.shape == (1, 3, 16, 16) and wanted.dtype == np.float32


@pytest.mark.parametrize(("name", "least", "most"), [("unit", 0, 1), ("signed", -1, 1), ("none", 0, 255)])
def test_a_named_scaling_reaches_from_end_to_end(name: str, least: float, most: float) -> None:
    floats = in_a_graph(PixelScaling(*map(tuple, KNOWN[name])), FACES, 1)
    assert floats.min() == pytest.approx(least, abs=1e-6) and floats.max() == pytest.approx(most, rel=1e-6)


@pytest.mark.parametrize(("mean", "std", "words"), [
    ([127.5], [127.5], "divide those of 0–255 by 255"), ([0.5], [0.0], "above 0"), ([float("nan")], [1.0], "finite"),
    ([0.5, 0.5, 0.5], [0.5], "as many means"), ([0.5], None, "one of the two")])
def test_numbers_that_scale_nothing_are_refused(mean: list[float], std: list[float] | None, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        scaling_of(None, mean, std)


def test_a_name_and_numbers_are_refused_together() -> None:
    with pytest.raises(BadInput, match="found both"):
        scaling_of("unit", [0.5], [0.5])


def test_two_values_do_not_fit_three_channels() -> None:
    with pytest.raises(BadInput, match="or 3 of them for a network of 3 channels, found 2"):
        PixelScaling((0.5, 0.5), (1.0, 1.0)).require_channels(3)
