"""Open a model's graph as an engine on a target. The precision lies in the graph; the target picks the file."""

from __future__ import annotations

from runtime.card import PRECISIONS, Model
from runtime.engines.engine import Engine
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel, Unavailable

TARGETS = ("cpu", "tensorrt", "tensorrt-rtx", "auto")


def graph_for(precision: str, target: str) -> str:
    """Return which graph file a precision means on a target: INT8 has a CPU and a GPU form. Raises BadInput."""
    if precision not in PRECISIONS:
        raise BadInput(f"expected a precision of {', '.join(PRECISIONS)}, found {precision!r}")
    if target not in TARGETS:
        raise BadInput(f"expected a target of {', '.join(TARGETS)}, found {target!r}")
    return "int8-gpu" if precision == "int8" and target.startswith("tensorrt") else precision


def open_engine(model: Model, precision: str, target: str = "auto", threads: int = 0) -> Engine:
    """Open a model on a target; `auto` is `cpu` in this version. Raises BadInput, BadModel, Unavailable."""
    graph = graph_for(precision, target)
    if target.startswith("tensorrt"):
        raise Unavailable(f"expected a target this version can run, found {target}; it compiles engines (mien build) "
                          "but does not run them yet: use --target cpu")
    return open_graph_on_cpu(model, graph, threads)


def open_graph_on_cpu(model: Model, graph: str, threads: int = 0) -> Engine:
    """Open one graph file in ONNX Runtime; the GPU form too, whose arithmetic it can follow. Raises BadModel."""
    engine = OnnxRuntimeEngine(model.read_graph(graph), str(model.directory / f"{graph}.onnx"),
                               graph.removesuffix("-gpu"), threads, fuse_qdq=not graph.endswith("-gpu"))
    _match_card(model, engine)
    return engine


def _match_card(model: Model, engine: Engine) -> None:
    """Refuse a graph whose input or output is not what the card says."""
    card, where = model.card, model.directory
    inputs, outputs = {i.name: i for i in engine.inputs}, {o.name: o for o in engine.outputs}
    if set(inputs) != {card.input_name} or card.output_name not in outputs:
        raise BadModel(f"expected input {card.input_name} and output {card.output_name} in {where}, found "
                       f"{', '.join(inputs)} and {', '.join(outputs)}")
    shape = inputs[card.input_name].shape
    wanted = (card.input.channels, card.input.height, card.input.width)
    if inputs[card.input_name].dtype != "uint8" or any(s not in (None, w) for s, w in zip(shape[1:], wanted)):
        raise BadModel(f"expected a uint8 input of (N, {', '.join(map(str, wanted))}) in {where}, found "
                       f"{inputs[card.input_name].dtype} {shape}")
    classes = outputs[card.output_name].shape[-1]
    if card.task == "expression" and classes != len(card.labels):
        raise BadModel(f"expected {len(card.labels)} outputs for the card's labels in {where}, found {classes}; "
                       "the label count is wrong")
