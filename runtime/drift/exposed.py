"""ONNX bytes → ONNX bytes whose graph also returns tensors that lie inside it.

Protobuf merges messages that stand one behind the other (https://protobuf.dev/programming-guides/encoding), so a few
bytes are appended and the graph is neither read nor copied apart; no onnx library is needed on the device. Knows
nothing of which tensors there are: ONNX Runtime refuses a name that is not one.
"""

from __future__ import annotations

from collections.abc import Iterable

# Field numbers of onnx/onnx.proto3
_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 7, 12, 1, 2, 1, 1
_FLOAT = 1  # TensorProto.DataType


def expose(content: bytes, tensors: Iterable[str]) -> bytes:
    """Return a model's bytes with named float32 tensors as further outputs, of no stated shape."""
    element = _key(_TENSOR_ELEMENT, 0) + _varint(_FLOAT)
    of_floats = _message(_VALUE_TYPE, _message(_TYPE_TENSOR, element))
    outputs = b"".join(_message(_GRAPH_OUTPUT, _message(_VALUE_NAME, tensor.encode()) + of_floats)
                       for tensor in tensors)
    return content + _message(_MODEL_GRAPH, outputs) if outputs else content


def _message(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(number: int) -> bytes:
    """Return a base-128 number, lowest part first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
