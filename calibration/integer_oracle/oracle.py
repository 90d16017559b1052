"""Walk a quantized graph in exact arithmetic and say at every Q which integers are legal. Knows no backend's answers.

What happens at a Q is the caller's: to go on from the exact integers with all that may have come of them, or from
integers that were seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calibration.integer_oracle.legal import Backend, Bounded, Rounded, quantize
from calibration.integer_oracle.operators import EXACT, OPERATORS, Call
from calibration.onnx_graph import Graph
from runtime.errors import BadInput, MienError

BATCH = 8  # faces at a time: the matrix of mien-light's second convolution is then 42 MB in float64

# At each Q: (the tensor's name, what is legal there) → the integers to go on from, or None for all that are legal
Settle = Callable[[str, Rounded], np.ndarray | None]


class Oracle:
    """A quantized graph and a backend's freedoms. Raises BadInput, naming it, for an operator it does not run."""

    def __init__(self, model: onnx.ModelProto, backend: Backend):
        self.backend = backend
        self.graph = Graph(model)
        unknown = [n for n in self.graph.nodes
                   if n.op_type not in (*OPERATORS, "QuantizeLinear") or n.domain not in ("", "ai.onnx")]
        if unknown:
            raise BadInput(f"expected operators among {', '.join(sorted(OPERATORS))}, found {unknown[0].op_type} in "
                           f"{unknown[0].name or unknown[0].output[0]}: the integer oracle does not run it")
        self.quantizers = {n.output[0]: n for n in self.graph.nodes if n.op_type == "QuantizeLinear"}
        if not self.quantizers:
            raise BadInput("expected a graph with QuantizeLinear nodes, found none; give int8.onnx or int8-gpu.onnx")
        bare = [name for name, node in self.quantizers.items() if len(node.input) < 3]
        if bare:
            raise BadInput("expected a zero-point, which says the integers' type, at every Q, found none at "
                           f"{bare[0]}; quantize with mien calibrate")
        inputs = [i for i in model.graph.input if i.name not in self.graph.weights]
        if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8:
            found = ", ".join(i.name for i in inputs) or "none"
            raise BadInput(f"expected uint8 faces as the one input, found {found}; give a graph that mien exported")
        self.input = inputs[0].name
        self.shape = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim[1:])
        self.outputs = tuple(o.name for o in model.graph.output if o.name not in self.quantizers)
        self._attributes = {id(n): _attributes(n) for n in self.graph.nodes}
        self._onto_q = {n.output[0]: self._only_integers_leave(n.output[0]) for n in self.graph.nodes}
        self._last_reader = {name: node.output[0] for node in self.graph.nodes for name in node.input}
        self._constants = {w.name: _constant(w) for w in model.graph.initializer}
        self._moving: list[onnx.NodeProto] = []
        for node in self.graph.nodes:  # what hangs on constants alone, weights above all, is computed once
            if node.op_type != "QuantizeLinear" and all(not name or name in self._constants for name in node.input):
                self._constants[node.output[0]] = self._compute(node, self._constants)
            else:
                self._moving.append(node)

    def layer_of(self, tensor: str) -> str:
        """Return the node that computed what a tensor holds, by name: behind a Q, the Conv and not its Relu."""
        node = self.graph.producers[tensor]
        while node.op_type in ("QuantizeLinear", *EXACT):
            before = self.graph.producers.get(node.input[0])
            if before is None or before.op_type == "DequantizeLinear":  # a Relu or a pooling between two Q/DQ pairs
                break
            node = before
        return str(node.name or node.output[0])

    def run(self, faces: np.ndarray) -> tuple[dict[str, Rounded], dict[str, Bounded]]:
        """Return (each Q's integers, each float output) of (N, C, H, W) uint8 faces, bounds over *all* layers.

        What one layer may show widens the next one's bounds: the last ones say what no backend could exceed.
        """
        rounded: list[dict[str, Rounded]] = []

        def keep(name: str, found: Rounded) -> None:
            rounded[-1][name] = found

        floats = []
        for batch in self.batches(faces):
            rounded.append({})
            floats.append(self.walk(faces[batch], keep))
        return ({name: _joined([part[name] for part in rounded]) for name in self.quantizers},
                {name: _concatenated([part[name] for part in floats]) for name in self.outputs})

    def batches(self, faces: np.ndarray) -> Iterator[slice]:
        """Yield slices of so many faces as fit. Raises BadInput for faces of another shape, or none."""
        if faces.dtype != np.uint8 or faces.ndim != 1 + len(self.shape) or any(
                wanted not in (0, found) for wanted, found in zip(self.shape, faces.shape[1:])) or not len(faces):
            raise BadInput(f"expected faces of (N, {', '.join(map(str, self.shape))}) uint8, found "
                           f"{faces.shape} {faces.dtype}")
        yield from (slice(start, start + BATCH) for start in range(0, len(faces), BATCH))

    def walk(self, faces: np.ndarray, settle: Settle) -> dict[str, Bounded]:
        """Compute every node for one batch of faces, asking `settle` at each Q; return the float outputs."""
        values = dict(self._constants)
        values[self.input] = Bounded(faces.astype(np.float64), 0.0, faces.dtype)
        for node in self._moving:
            name = node.output[0]
            if node.op_type == "QuantizeLinear":
                values[name] = self._quantize(node, values, settle)
            else:
                values[name] = self._compute(node, values)
            if not np.isfinite(values[name].value).all():
                raise MienError(f"expected finite numbers, found infinity or NaN in {name} ({self.layer_of(name)}): "
                                "its type overflows; keep this layer in float32")
            for read in node.input:  # a batch's float64 tensors are large: drop each behind its last reader
                if self._last_reader.get(read) == name and read not in self.outputs and read not in self._constants:
                    values.pop(read, None)
        return {name: values[name] for name in self.outputs}

    def _quantize(self, node: onnx.NodeProto, values: dict[str, Bounded], settle: Settle) -> Bounded:
        scale, zero = values[node.input[1]].value, values[node.input[2]]
        if scale.size != 1:
            raise BadInput(f"expected one scale for the activations {node.input[0]}, found {scale.size}: the oracle "
                           "takes one a tensor, like TensorRT")
        found = quantize(values[node.input[0]], scale.reshape(()), zero.value.reshape(()).astype(zero.dtype),
                         self.backend)
        chosen = settle(node.output[0], found)
        if chosen is None:
            return Bounded(found.exact.astype(np.float64), found.reach, found.exact.dtype)
        return Bounded(chosen.astype(np.float64), 0.0, found.exact.dtype)

    def _compute(self, node: onnx.NodeProto, values: dict[str, Bounded]) -> Bounded:
        inputs = [values[name] if name else None for name in node.input]
        try:
            return OPERATORS[node.op_type](Call(node.op_type, self._attributes[id(node)], inputs, self.backend,
                                                self._onto_q[node.output[0]]))
        except BadInput as error:
            raise BadInput(f"{error} (node {node.name or node.output[0]})") from error

    def _only_integers_leave(self, tensor: str) -> bool:
        """Does every path from a tensor meet a Q before anything is computed?"""
        readers = self.graph.reads(tensor)
        return bool(readers) and tensor not in self.graph.outputs and all(
            r.op_type == "QuantizeLinear" or (r.op_type in EXACT and self._only_integers_leave(r.output[0]))
            for r in readers)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _constant(weight: onnx.TensorProto) -> Bounded:
    values = numpy_helper.to_array(weight)
    return Bounded(values.astype(np.float64), 0.0, values.dtype)


def _joined(parts: list[Rounded]) -> Rounded:
    exact = np.concatenate([p.exact for p in parts])
    if all(p.low is p.high for p in parts):
        return Rounded(exact, exact, exact)
    return Rounded(exact, np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))


def _concatenated(parts: list[Bounded]) -> Bounded:
    slack = np.concatenate([np.broadcast_to(p.slack, p.value.shape) for p in parts])
    return Bounded(np.concatenate([p.value for p in parts]), slack, parts[0].dtype)
