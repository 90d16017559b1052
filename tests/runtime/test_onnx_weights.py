"""ONNX bytes are looked into before any library opens them."""

from __future__ import annotations

import contextlib
import math
import struct

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_model import TinyNetwork

from runtime.errors import BadModel
from runtime.onnx_weights import refuse_unsafe

GOOD = TinyNetwork.random().graph().SerializeToString()


def with_weight(tensor: onnx.TensorProto) -> bytes:
    model = TinyNetwork.random().graph()
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def test_a_sound_graph_passes() -> None:
    refuse_unsafe(GOOD, "m.onnx")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_weight_that_is_not_finite_is_refused_by_name(kind: type, bad: float) -> None:
    with pytest.raises(BadModel, match=r"m\.onnx.*NaN or infinity in spoiled"):
        refuse_unsafe(with_weight(numpy_helper.from_array(np.array([1, bad], kind), "spoiled")), "m.onnx")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_nan_in_the_typed_fields_is_found_too(kind: int) -> None:
    with pytest.raises(BadModel, match="spoiled"):
        refuse_unsafe(with_weight(helper.make_tensor("spoiled", kind, [2], [1.0, float("nan")])), "m.onnx")


def with_fields(*fields: bytes) -> bytes:
    """The sound graph and a tensor of these fields as they are written, called `spoiled` (field 8)."""
    tensor = b"".join(fields) + b"\x42\x07spoiled"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    return GOOD + b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize(("data_type", "field", "finite", "infinite"), [
    (TensorProto.FLOAT, b"\x25", struct.pack("<f", 1), struct.pack("<f", math.inf)),
    (TensorProto.FLOAT16, b"\x28", b"\x80\x78", b"\x80\xf8\x01"),  # 0x3C00 and 0x7C00, base 128
    (TensorProto.DOUBLE, b"\x51", struct.pack("<d", 1), struct.pack("<d", math.inf))])
def test_numbers_that_a_writer_did_not_pack_are_looked_at(data_type: int, field: bytes, finite: bytes,
                                                          infinite: bytes) -> None:
    kind = b"\x08\x02\x10" + bytes([data_type])  # one axis of two numbers
    for numbers in ([finite, finite], [infinite, finite]):
        content = with_fields(kind, *(field + number for number in numbers))
        read = numpy_helper.to_array(onnx.load_from_string(content).graph.initializer[-1])
        assert np.isfinite(read).tolist() == [number == finite for number in numbers]
    refuse_unsafe(with_fields(kind, field + finite), "m.onnx")
    with pytest.raises(BadModel, match="spoiled"):
        refuse_unsafe(content, "m.onnx")


@pytest.mark.parametrize("values", [{"value_float": math.nan}, {"value_floats": [1.0, -math.inf]}])
def test_a_constant_that_is_not_finite_is_found(values: dict[str, object]) -> None:
    model = TinyNetwork.random().graph()
    model.graph.node.append(helper.make_node("Constant", [], ["c"], **values))
    with pytest.raises(BadModel, match=r"m\.onnx, found NaN or infinity in a constant"):
        refuse_unsafe(model.SerializeToString(), "m.onnx")


def test_a_setting_may_be_infinite() -> None:
    model = TinyNetwork.random().graph()
    model.graph.node.append(helper.make_node("ThresholdedRelu", ["c"], ["d"], alpha=-math.inf))
    refuse_unsafe(model.SerializeToString(), "m.onnx")


def test_finite_halves_in_the_typed_field_pass() -> None:
    refuse_unsafe(with_weight(helper.make_tensor("fine", TensorProto.FLOAT16, [2], [1.0, -65504.0])), "m.onnx")


def test_whole_numbers_are_never_taken_for_nan() -> None:
    refuse_unsafe(with_weight(numpy_helper.from_array(np.full(8, -1, np.int32), "ones")), "m.onnx")


def test_external_data_is_refused() -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "outside")
    onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")
    tensor.ClearField("raw_data")
    with pytest.raises(BadModel, match=r"inside m\.onnx, found external data"):
        refuse_unsafe(with_weight(tensor), "m.onnx")


def test_nan_inside_a_branch_of_an_if_is_found() -> None:
    spoiled = numpy_helper.from_array(np.array([np.nan], np.float32), "deep")
    branch = helper.make_graph([helper.make_node("Constant", [], ["out"], value=spoiled)], "branch", [],
                               [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])])
    model = TinyNetwork.random().graph()
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    with pytest.raises(BadModel, match="deep"):
        refuse_unsafe(model.SerializeToString(), "m.onnx")


def test_nan_in_a_functions_default_attribute_is_found() -> None:
    model = TinyNetwork.random().graph()
    spoiled = numpy_helper.from_array(np.array([np.nan], np.float32), "default")
    function = helper.make_function("d", "f", [], ["y"], [helper.make_node("Constant", [], ["y"], value_float=1.0)],
                                    [helper.make_opsetid("", 17)],
                                    attribute_protos=[helper.make_attribute("value", spoiled)])
    model.functions.append(function)
    with pytest.raises(BadModel, match="default"):
        refuse_unsafe(model.SerializeToString(), "m.onnx")


@pytest.mark.parametrize("content", [b"\x00", b"hello, I am no model", GOOD[:-3]])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadModel, match=r"expected an ONNX graph in m\.onnx"):
        refuse_unsafe(content, "m.onnx")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, len(GOOD)))
def test_mutated_bytes_never_escape_as_another_exception(at: int, change: int, cut: int) -> None:
    mutated = bytearray(GOOD)
    mutated[at] ^= change
    for content in (bytes(mutated), bytes(mutated)[:cut]):
        try:
            refuse_unsafe(content, "m.onnx")
        except BadModel as error:
            assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_escape_as_another_exception(content: bytes) -> None:
    with contextlib.suppress(BadModel):
        refuse_unsafe(content, "m.onnx")
