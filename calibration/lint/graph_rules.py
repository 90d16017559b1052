"""Rules on the graph as a whole: valid ONNX, opset, operators, element types, shapes, where its weights lie.

Knows nothing of quantization.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath

import onnx
from onnx import NodeProto, TensorProto

from calibration.lint.finding import Places, Rule
from calibration.lint.view import STANDARD, Scope, View, is_external

OPERATORS = "https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md"
OPSETS = "https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/onnx-opset-guide.html"
SHAPES = "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-dynamic-shapes.html"
EXTERNAL = "https://onnx.ai/onnx/repo-docs/ExternalData.html"

# TensorRT's parser has no type for these; 2-, 4- and 8-bit floats have one for some GPUs and are not judged here
_NO_TYPE = {TensorProto.STRING, TensorProto.INT16, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
            TensorProto.COMPLEX64, TensorProto.COMPLEX128}


def _invalid(view: View) -> Places:
    newest = onnx.defs.onnx_opset_version()
    if view.opset > newest or view.model.ir_version > onnx.IR_VERSION:
        return  # the installed onnx cannot judge what it does not know
    if any(is_external(tensor) for _, tensor in view.tensors()):
        return  # the checker would look for the files
    try:
        onnx.checker.check_model(view.model, full_check=True)
    except Exception as error:  # ValidationError, InferenceError and others share no base class
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        yield view.model.graph.name or "graph", (lines or ["the checker refuses it"])[0]


def _opset(view: View) -> Places:
    lowest, highest = view.target.opsets
    if not lowest <= view.opset <= highest:
        yield "graph", f"opset {view.opset}; {view.target.compiler} promises {lowest}–{highest}"


def _operator(view: View) -> Places:
    for _, node in view.nodes():
        if node.domain in STANDARD and node.op_type in view.target.missing:
            yield node.name, f"{node.op_type}, which {view.target.compiler} does not import"


def _plugin(view: View) -> Places:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    for _, node in view.nodes():
        if node.domain in STANDARD and node.op_type in known:
            continue
        if (node.domain, node.op_type) in view.functions:
            continue
        if node.op_type in known - view.target.missing:  # the parser goes by the operator's name alone
            continue
        if view.target.plugins and node.op_type.endswith("_TRT"):
            continue
        if not (node.domain.startswith("trt") and node.op_type.startswith("TRT_")):
            yield node.name, f"{node.domain or 'ONNX'}'s {node.op_type}, an operator that needs a plugin"


def _sparse(view: View) -> Places:
    for sparse in view.model.graph.sparse_initializer:
        yield sparse.values.name, "a sparse initializer"


def _entries(view: View, wanted: Callable[[int], bool]) -> Places:
    """Yield where an element type enters: inputs, stored tensors, and nodes that make it from other types."""
    for name, tensor in view.tensors():
        if wanted(tensor.data_type):
            yield name, f"a stored tensor of {_name_of(tensor.data_type)}"
    for scope in view.scopes:
        for info in scope.inputs:
            if wanted(scope.type_of(info.name)):
                yield info.name, f"an input of {_name_of(scope.type_of(info.name))}"
        for node in scope.nodes:
            made = {scope.type_of(name) for name in node.output if name} | _cast_to(node)
            for kind in made - {scope.type_of(name) for name in node.input if name}:
                if wanted(kind) and node.op_type != "Constant":
                    yield node.name, f"{node.op_type} makes {_name_of(kind)}"


def _cast_to(node: NodeProto) -> set[int]:
    if node.op_type == "Constant":  # its strings are attributes of their own
        return {TensorProto.STRING} if any(a.name.startswith("value_string") for a in node.attribute) else set()
    return {a.i for a in node.attribute if a.name == "to"} if node.op_type == "Cast" else set()


def _name_of(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"


def _dtype(view: View) -> Places:
    yield from _entries(view, lambda kind: kind in _NO_TYPE or kind not in TensorProto.DataType.values())
    for _, node in view.nodes("Constant"):
        if _cast_to(node):
            yield node.name, "Constant makes string"


def _double(view: View) -> Places:
    yield from _entries(view, lambda kind: kind == TensorProto.DOUBLE)


def _int64(view: View) -> Places:
    """Only where data turn into 64-bit integers: every exporter writes shapes and axes so."""
    for info in view.main.inputs:
        if view.main.type_of(info.name) == TensorProto.INT64:
            yield info.name, "an input of int64"
    for scope, node in view.nodes("Cast"):
        source = scope.type_of(node.input[0])
        if TensorProto.INT64 in _cast_to(node) and source in (TensorProto.FLOAT, TensorProto.FLOAT16):
            yield node.name, f"Cast of {_name_of(source)} to int64"


def _uint8(view: View) -> Places:
    for scope, node in view.nodes():
        if node.op_type in ("Constant", "QuantizeLinear", "DequantizeLinear"):
            continue  # the rules on Q and DQ judge those
        read = [n for n in node.input if scope.type_of(n) == TensorProto.UINT8 and not scope.is_constant(n)]
        if read and node.op_type not in ("Cast", "Identity"):
            yield node.name, f"{node.op_type} reads uint8 {read[0]}"
        elif any(scope.type_of(n) == TensorProto.UINT8 and n not in scope.outputs for n in node.output if n):
            yield node.name, f"{node.op_type} makes uint8 inside the graph"


def _input_shape(view: View) -> Places:
    for info in view.main.inputs:
        if info.type.WhichOneof("value") == "tensor_type" and view.main.shape_of(info.name) is None:
            yield info.name, "an input without a shape"


def _batch_missing(view: View) -> Places:
    for scope, node in view.nodes("Conv"):
        data, weight = scope.shape_of(node.input[0]), scope.shape_of(node.input[1])
        if data is not None and weight is not None and len(data) == len(weight) - 1:
            yield node.name, f"Conv of a weight with {len(weight)} dimensions reads data with {len(data)}"


def _batch_fixed(view: View) -> Places:
    for name, shape in _images(view.main):
        if isinstance(shape[0], int):
            yield name, f"batch {shape[0]}, fixed"


def _dynamic_shape(view: View) -> Places:
    for name, shape in _images(view.main):
        free = [f"{index} ({d or 'no name'})" for index, d in enumerate(shape) if index and not isinstance(d, int)]
        if free:
            yield name, f"dimensions {', '.join(free)} are free"


def _images(scope: Scope) -> list[tuple[str, list[int | str | None]]]:
    """Return the inputs with a batch and something in it, and their dimensions."""
    shapes = [(info.name, scope.shape_of(info.name)) for info in scope.inputs]
    return [(name, shape) for name, shape in shapes if shape is not None and len(shape) > 1]


def _locations(view: View) -> list[tuple[str, str]]:
    return [(name, next((e.value for e in tensor.external_data if e.key == "location"), ""))
            for name, tensor in view.tensors() if is_external(tensor)]


def _leaves_folder(location: str) -> bool:
    paths = (PurePosixPath(location), PureWindowsPath(location))
    return not location or any(p.is_absolute() or p.drive or ".." in p.parts for p in paths)


def _external_data(view: View) -> Places:
    yield from ((name, f"stored in {where}") for name, where in _locations(view) if not _leaves_folder(where))


def _external_outside(view: View) -> Places:
    yield from ((name, f"stored in {where or 'no file'}") for name, where in _locations(view) if _leaves_folder(where))


RULES = (
    Rule("invalid", "error", "the graph is valid ONNX", "export it again, or mend what the checker names",
         "https://onnx.ai/onnx/api/checker.html", "rejected", _invalid),
    Rule("operator", "error", "the parser has an importer for every operator",
         "rewrite the node with other operators, or export with other settings", OPERATORS, "rejected", _operator),
    Rule("plugin", "error", "every operator is ONNX's own, or a plugin that the target has",
         "export without custom operators, or build with the plugin's library", OPERATORS, "rejected", _plugin),
    Rule("dtype", "error", "every tensor has a type that TensorRT knows",
         "cast to float, half, int32, int64 or bool before the export", OPERATORS, "rejected", _dtype),
    Rule("uint8-inside", "error", "uint8 is for inputs and outputs only, and a Cast reads it first",
         "let a Cast to float be the first node behind a uint8 input", OPERATORS, "rejected", _uint8),
    Rule("sparse-weights", "error", "weights are dense", "store the weight as an ordinary initializer", OPERATORS,
         "rejected", _sparse),
    Rule("input-shape", "error", "every input states its dimensions", "export with a shape; leave only the batch free",
         SHAPES, "rejected", _input_shape),
    Rule("batch-missing", "error", "images have a batch dimension", "export with an input of (batch, C, H, W)",
         "https://onnx.ai/onnx/operators/onnx__Conv.html", "rejected", _batch_missing),
    Rule("external-data-outside", "error", "weights lie in the graph's own folder",
         "refuse the file, or save the model again as one file", EXTERNAL, "rejected", _external_outside),
    Rule("external-data", "warning", "weights lie inside the graph's file, of which mien knows the hash and gives the "
         "parser the bytes", "save the model again as one file", EXTERNAL, "rejected", _external_data),
    Rule("opset", "warning", "the opset is one that the target's documentation promises",
         "export with an opset in that range; onnx.version_converter converts some graphs", OPSETS, "accepted",
         _opset),
    Rule("double", "warning", "no 64-bit floats: TensorRT turns them into 32-bit ones, clamped",
         "export in float", OPERATORS, "accepted", _double),
    Rule("batch-fixed", "warning", "the batch is free, so that one graph serves every batch size",
         "export with a dynamic batch dimension", SHAPES, "accepted", _batch_fixed),
    Rule("dynamic-shape", "warning", "only the batch is free: other free dimensions need a profile too, and kernels "
         "are chosen for one size of them", "export with the image's own height and width", SHAPES, "accepted",
         _dynamic_shape),
    Rule("int64-data", "note", "data do not turn into 64-bit integers: they take twice the memory of int32",
         "cast to int32", OPERATORS, "accepted", _int64),
)
