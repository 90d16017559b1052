"""Look inside ONNX bytes without the onnx library: refuse external data and weights that are not finite.

Reads the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) just far enough to find every
TensorProto; knows nothing of operators. ONNX Runtime itself loads both kinds without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.errors import BadModel

MAX_DEPTH = 32  # of graphs inside nodes inside graphs

# Field numbers from onnx/onnx.proto3: which length-delimited fields lead from a message to a TensorProto below it.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
# TensorProto.DataType → numpy; other types hold no infinities
_FLOATS: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
_HALF, _BFLOAT16 = 10, 16
# float_data and double_data, whatever the type says
_REPEATED: dict[int, np.dtype[Any]] = {4: np.dtype("<f4"), 10: np.dtype("<f8")}
# (field, wire type) of numbers that a writer did not pack into one run of bytes, as it may
_UNPACKED = {(4, 5), (5, 0), (10, 1)}


def refuse_unsafe(content: bytes, name: str) -> None:
    """Raise BadModel, naming the file, where a tensor lies outside the file or holds NaN or infinity."""
    try:
        for kind, message in _holders(memoryview(content), "model", 0):
            (_check_tensor if kind == "tensor" else _check_attribute)(message, name)
    except (ValueError, IndexError, RecursionError) as error:
        raise BadModel(f"expected an ONNX graph in {name}, found other bytes; export the model again") from error


def _check_tensor(tensor: memoryview, name: str) -> None:
    data_type, label = 0, ""
    values: list[tuple[int, int | memoryview]] = []
    for number, wire, value in _fields(tensor):
        if number == 13 or (number == 14 and value == 1):
            raise BadModel(f"expected all weights inside {name}, found external data; export it as one file")
        if number == 2 and isinstance(value, int):
            data_type = value
        elif number == 8 and not isinstance(value, int):
            label = bytes(value).decode(errors="replace")
        elif number in (4, 5, 9, 10) and (not isinstance(value, int) or (number, wire) in _UNPACKED):
            values.append((number, value))  # float_data, int32_data, raw_data, double_data
    for number, value in values:
        if number == 5 and data_type not in (_HALF, _BFLOAT16):  # halves may lie here; whole numbers need no look
            continue
        raw = _unpacked(number, value) if isinstance(value, int) else _halves(value) if number == 5 else value
        if data_type == _BFLOAT16 and number in (5, 9):
            bits = np.frombuffer(raw, dtype="<u2")
            finite = bool(((bits & 0x7F80) != 0x7F80).all())  # an exponent of all ones is NaN or infinity
        else:
            kind = _REPEATED.get(number) or _FLOATS.get(data_type)
            if kind is None or len(raw) % kind.itemsize:
                continue
            finite = bool(np.isfinite(np.frombuffer(raw, dtype=kind)).all())
        if not finite:
            _refuse(name, label or "a tensor")


def _check_attribute(attribute: memoryview, name: str) -> None:
    """Look at a Constant's `value_float` and `value_floats`: other attributes are settings, which may be infinite."""
    label, values = b"", b""
    for number, wire, value in _fields(attribute):
        if number == 1 and not isinstance(value, int):
            label = bytes(value)
        elif (number, wire) in ((2, 5), (7, 5)) and isinstance(value, int):  # f, floats
            values += value.to_bytes(4, "little")
        elif number == 7 and not isinstance(value, int):
            values += bytes(value)
    if label in (b"value_float", b"value_floats") and not np.isfinite(np.frombuffer(values, "<f4")).all():
        _refuse(name, "a constant")


def _refuse(name: str, where: str) -> None:
    raise BadModel(f"expected finite weights in {name}, found NaN or infinity in {where}; train or export again")


def _holders(message: memoryview, kind: str, depth: int) -> Iterator[tuple[str, memoryview]]:
    """Yield every TensorProto and AttributeProto below a message, with its kind."""
    if depth > MAX_DEPTH * 3:  # graph → node → attribute is three levels
        raise ValueError("nested too deep")
    children = _CHILDREN[kind]
    for number, _, value in _fields(message):
        if number in children and not isinstance(value, int):
            if children[number] in ("tensor", "attribute"):
                yield children[number], value
            if children[number] != "tensor":
                yield from _holders(value, children[number], depth + 1)


def _unpacked(number: int, value: int) -> bytes:
    """Return the bytes of a number that stands alone in its field."""
    return (value & 0xFFFF if number == 5 else value).to_bytes({4: 4, 5: 2, 10: 8}[number], "little")


def _halves(packed: memoryview) -> memoryview:
    """Return packed varints as 16-bit little-endian bytes."""
    halves, at = bytearray(), 0
    while at < len(packed):
        value, at = _varint(packed, at)
        halves += (value & 0xFFFF).to_bytes(2, "little")
    return memoryview(bytes(halves))


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (field number, wire type, value) of one message; raises ValueError where it is not one."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 0:
            value: int | memoryview
            value, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if at + size > end:
                raise ValueError("truncated")
            value, at = int.from_bytes(message[at : at + size], "little"), at + size
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > end:
                raise ValueError("truncated")
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire}")
        yield number, wire, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read one base-128 number; returns (value, next position)."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")
