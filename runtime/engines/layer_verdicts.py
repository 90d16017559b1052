"""Each layer of an engine against what its graph asked for: *as asked*, *not as asked* or *opaque*.

Judged by what a layer reads, writes and stores: what generated code computes in between nobody tells, so a layer that
hides a convolution or a matrix product is opaque. Knows neither ONNX (`export/asked_types.py`) nor TensorRT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.engines.inspector import EngineLayer

Verdict = Literal["as asked", "not as asked", "opaque"]
VERDICTS: tuple[Verdict, ...] = ("not as asked", "opaque", "as asked")  # worst first

# Types that carry a network's values. int32, int64 and bool count shapes and places, and no precision is asked of them
VALUES = frozenset(("float", "half", "bf16", "double", "int8", "uint8", "fp8", "int4", "fp4"))
# Copies into another memory layout, and layers that do nothing
_COPIES = frozenset(("Reformat", "NoOp"))
_COPY_NAME = "Reformatting CopyNode"
# Myelin's subgraphs say where they begin and end, not what is inside
_HIDDEN = re.compile(r"^\{?ForeignNode\[|^Myelin$")
_MULTIPLIES = re.compile(r"conv|gemm|matmul|matrix|fprop|_fc_|fusion", re.IGNORECASE)


@dataclass(frozen=True)
class AskedTypes:
    """What the graph asks of one node.

    multiplies: the type in which a convolution or matrix product reads its data, '' for other nodes; weights: the type
    of what it multiplies them with. types: all that the node may read or write, its neighbours' Q and DQ included.
    quantizers: the Q nodes that make its data int8.
    """

    multiplies: str
    types: frozenset[str]
    weights: str = ""
    quantizers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AskedGraph:
    """What a graph asks: by node, and the conversions (from, to) that its Cast, Q and DQ nodes make."""

    nodes: Mapping[str, AskedTypes]
    conversions: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class JudgedLayer:
    """A layer with its verdict, why, and the nodes of the graph it stands for."""

    layer: EngineLayer
    verdict: Verdict
    why: str
    nodes: tuple[str, ...]


def judge_layers(layers: Sequence[EngineLayer], asked: AskedGraph) -> tuple[JudgedLayer, ...]:
    """Judge every layer, in the engine's order."""
    return tuple(_judge(layer, asked) for layer in layers)


def count_verdicts(judged: Iterable[JudgedLayer]) -> dict[str, int]:
    """Return how many layers got each verdict, every verdict named."""
    found = Counter(layer.verdict for layer in judged)
    return {verdict: found[verdict] for verdict in reversed(VERDICTS)}


def _judge(layer: EngineLayer, asked: AskedGraph) -> JudgedLayer:
    nodes = () if _copies(layer) else _nodes_of(layer, asked.nodes)
    verdict, why = _verdict(layer, nodes, asked)
    return JudgedLayer(layer, verdict, why, nodes)


def _verdict(layer: EngineLayer, nodes: tuple[str, ...], asked: AskedGraph) -> tuple[Verdict, str]:
    seen = (*layer.reads, *layer.writes)
    if not any(seen) and not layer.weights:
        return "opaque", "the inspector tells no types; build with DETAILED verbosity, inspect with shapes set"
    if _HIDDEN.search(layer.name) or _HIDDEN.search(layer.kind):
        return "opaque", "a subgraph of Myelin, whose inside is not told"
    if not nodes:
        return _judge_copy(layer, asked) if _copies(layer) else ("opaque", "names no node of the graph")
    wanted = [asked.nodes[name] for name in nodes]
    allowed = frozenset().union(*(node.types for node in wanted))
    strangers = {type_ for type_ in (*seen, layer.weights) if type_ in VALUES} - allowed
    if strangers:
        return "not as asked", f"{_listed(strangers)} where the graph asks for {_listed(allowed)}"
    if "" in seen:
        return "opaque", "the inspector leaves a type out; inspect with shapes set"
    for node, name in zip(wanted, nodes):
        if node.multiplies:
            verdict, why = _judge_product(layer, node, name, nodes)
            if verdict != "as asked":
                return verdict, why
    return "as asked", ""


def _judge_product(layer: EngineLayer, node: AskedTypes, name: str, nodes: tuple[str, ...]) -> tuple[Verdict, str]:
    """Judge a layer that stands for a convolution or matrix product by the type in which its data come in."""
    if not layer.weights and not any(map(_MULTIPLIES.search, (layer.kind, layer.operation, layer.tactic))):
        return "opaque", f"generated code, which does not tell how {name} multiplies"
    if layer.weights and layer.weights != node.weights:
        return "not as asked", f"{name} stores {layer.weights} where the graph asks for weights in {node.weights}"
    if node.multiplies == "float" and "tf32" in layer.tactic.lower():
        return "not as asked", f"{name} multiplies in TF32 where the graph asks for float"
    if node.multiplies in layer.reads:
        return "as asked", ""
    if node.quantizers & set(nodes):
        return "opaque", f"quantizes inside: whether {name} multiplies in {node.multiplies} is not told"
    read = _listed(VALUES.intersection(layer.reads))
    return "not as asked", f"{name} reads {read} where the graph asks for {node.multiplies}"


def _judge_copy(layer: EngineLayer, asked: AskedGraph) -> tuple[Verdict, str]:
    made = {(read, written) for read in layer.reads for written in layer.writes if read != written}
    unasked = made - asked.conversions
    if unasked:
        return "not as asked", "; ".join(f"turns {a or '?'} into {b or '?'}, as no node of the graph does"
                                         for a, b in sorted(unasked))
    return "as asked", ""


def _copies(layer: EngineLayer) -> bool:
    return layer.name.startswith(_COPY_NAME) or (layer.kind in _COPIES and not layer.onnx_nodes)


def _nodes_of(layer: EngineLayer, known: Mapping[str, AskedTypes]) -> tuple[str, ...]:
    """The graph's nodes that a layer says it came from, else those whose names stand in its own."""
    said = tuple(name for name in layer.onnx_nodes if name in known)
    return said or tuple(name for name in known if re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w/.])", layer.name))


def _listed(types: Iterable[str]) -> str:
    return ", ".join(sorted(types)) or "nothing"
