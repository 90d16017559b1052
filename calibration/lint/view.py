"""A model as the rules see it: every graph in it, branches, loop bodies and local functions too, with types and values.

Knows no rule. Reads nothing from the disk: a tensor stored outside the model has no values here, and a tensor whose
bytes do not fit its shape has none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from calibration.lint.target import Target
from runtime.errors import BadInput

STANDARD = ("", "ai.onnx")
Dimensions = list[int | str | None]  # a number, a name, or nothing is known


class Scope:
    """One graph: nodes whose names say where they stand, who makes and who reads a tensor, what is known of it."""

    def __init__(self, prefix: str, nodes: Iterable[NodeProto], weights: Mapping[str, TensorProto],
                 outer: Scope | None):
        self.outer = outer
        self.nodes = [node for node in nodes if _is_whole(node)]
        for index, node in enumerate(self.nodes):
            node.name = prefix + (node.name or f"{node.op_type}_{index}")
        self.weights = dict(weights)
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.weights.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        self.readers: dict[str, list[NodeProto]] = {}
        self.types: dict[str, int] = {name: w.data_type for name, w in self.weights.items()}
        self.shapes: dict[str, Dimensions] = {name: list(w.dims) for name, w in self.weights.items()}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: set[str] = set()
        self._values: dict[str, np.ndarray | None] = {}
        for node in self.nodes:
            for name in node.input:
                self._home(name).readers.setdefault(name, []).append(node)

    def _home(self, name: str) -> Scope:
        """The scope that a tensor read here comes from; an unknown one is taken for this scope's own."""
        scope: Scope | None = self
        while scope and not (name in scope.producers or name in scope.weights or name in scope.shapes):
            scope = scope.outer
        return scope or self

    def learn(self, infos: Iterable[onnx.ValueInfoProto]) -> None:
        """Take in what inputs, outputs and shape inference say of tensors."""
        for info in infos:
            tensor = info.type.tensor_type
            self.types[info.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.shapes[info.name] = [_dimension(d) for d in tensor.shape.dim]

    def producer(self, name: str) -> NodeProto | None:
        """Return the node that makes a tensor, if one does."""
        return self._home(name).producers.get(name)

    def reads(self, name: str) -> list[NodeProto]:
        """Return the nodes that read a tensor, those inside branches included."""
        return self._home(name).readers.get(name, [])

    def type_of(self, name: str) -> int:
        """Return a tensor's ONNX element type, 0 where it is not known."""
        return self._home(name).types.get(name, 0)

    def shape_of(self, name: str) -> Dimensions | None:
        """Return a tensor's dimensions, None where not even their number is known."""
        return self._home(name).shapes.get(name)

    def is_constant(self, name: str) -> bool:
        """Is this tensor a weight or a Constant node's?"""
        return name in self._home(name).weights

    def values(self, name: str) -> np.ndarray | None:
        """Return a constant's values; None for one that is computed, stored elsewhere or damaged."""
        home = self._home(name)
        if name not in home._values:
            home._values[name] = values_of(home.weights[name]) if name in home.weights else None
        return home._values[name]


@dataclass(frozen=True)
class View:
    """A model, its scopes (the main graph first), and the target it is judged for."""

    model: onnx.ModelProto
    target: Target
    scopes: tuple[Scope, ...]
    opset: int
    functions: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @property
    def main(self) -> Scope:
        """The main graph."""
        return self.scopes[0]

    def nodes(self, *kinds: str) -> Iterator[tuple[Scope, NodeProto]]:
        """Yield every node of those kinds (of any, where none is named) with its scope."""
        for scope in self.scopes:
            yield from ((scope, node) for node in scope.nodes if not kinds or node.op_type in kinds)

    def tensors(self) -> Iterator[tuple[str, TensorProto]]:
        """Yield every stored tensor with its name."""
        for scope in self.scopes:
            yield from scope.weights.items()


def look_at(model: onnx.ModelProto, target: Target) -> View:
    """Index a copy of a model; shapes are inferred where ONNX can, and left unknown where it cannot.

    Raises BadInput for names that are not text.
    """
    _require_text(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # a hostile graph fails in many ways, which share no base class; the rules say what is wrong
        inferred = onnx.ModelProto()
        inferred.CopyFrom(model)
    scopes = list(_scopes_of(inferred.graph, "", None))
    for function in inferred.functions:
        scopes.append(Scope(f"{function.name}/", function.node, {}, None))
        scopes[-1].outputs = set(function.output)
        for node in scopes[-1].nodes:
            scopes += _inner_scopes(node, scopes[-1])
    opsets = {entry.domain: entry.version for entry in inferred.opset_import}
    return View(inferred, target, tuple(scopes), opsets.get("", opsets.get("ai.onnx", 0)),
                frozenset((f.domain, f.name) for f in inferred.functions))


def _require_text(message: Any) -> None:
    """Refuse names that are not UTF-8, which protobuf hands out as bytes: no rule could tell one from another."""
    for entry, value in message.ListFields():
        if entry.type == entry.TYPE_STRING:
            for text in [value] if isinstance(value, (str, bytes)) else value:
                if isinstance(text, bytes):
                    raise BadInput(f"expected names in UTF-8, found {text[:40]!r}; the file is damaged: export again")
        elif entry.type == entry.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _require_text(inner)


def _scopes_of(graph: onnx.GraphProto, prefix: str, outer: Scope | None) -> Iterator[Scope]:
    scope = Scope(prefix, graph.node, {w.name: w for w in graph.initializer}, outer)
    scope.learn([*graph.value_info, *graph.input, *graph.output])
    scope.inputs = [i for i in graph.input if i.name not in scope.weights]
    scope.outputs = {o.name for o in graph.output}
    yield scope
    for node in scope.nodes:
        yield from _inner_scopes(node, scope)


def _inner_scopes(node: NodeProto, scope: Scope) -> Iterator[Scope]:
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs):
            yield from _scopes_of(graph, f"{node.name}/{attribute.name}/", scope)


def _is_whole(node: NodeProto) -> bool:
    """Has a node the inputs and outputs its operator cannot do without? One that lacks them is invalid ONNX."""
    if not onnx.defs.has(node.op_type):
        return True
    schema = onnx.defs.get_schema(node.op_type)
    return len(node.input) >= schema.min_input and len(node.output) >= schema.min_output


def _dimension(dimension: onnx.TensorShapeProto.Dimension) -> int | str | None:
    kind = dimension.WhichOneof("value")
    return getattr(dimension, kind) if kind else None


def is_external(tensor: TensorProto) -> bool:
    """Does a tensor lie outside its file?"""
    return tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data)


def values_of(tensor: TensorProto) -> np.ndarray | None:
    """Return a stored tensor's values, or None; never opens a file, which numpy_helper alone would."""
    if is_external(tensor) or any(d < 0 for d in tensor.dims):
        return None
    try:
        return numpy_helper.to_array(tensor)
    except Exception:  # an unknown type, bytes that do not fit the shape: no common base class
        return None
