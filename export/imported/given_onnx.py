"""Anyone's ONNX file → a network that classifies one picture, read strictly: one line for each thing that is not so.

Knows nothing of faces, and not how the network wants its pixels scaled: no ONNX file says it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper

from calibration.onnx_graph import OPSET, Graph, attribute, parse_model
from runtime.card import MAX_GRAPH_BYTES
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError
from runtime.onnx_weights import refuse_unsafe

OLDEST = 9  # what onnx's converter brings to OPSET, and PyTorch wrote by default since 1.2
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
              "ConvInteger", "MatMulInteger")
_OTHER_FLOATS = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}
# Taken by PyTorch's old exporter and by the one built on torch.export
FREE_BATCH = 'export it in eval mode with torch.onnx.export(…, input_names=["x"], dynamic_axes={"x": {0: "batch"}})'


@dataclass(frozen=True)
class GivenNetwork:
    """A network as it was given: uint8 or float32 (N, channels, height, width) in, float32 (N, classes) logits out."""

    path: Path
    sha256: str  # of the file
    model: onnx.ModelProto
    input_name: str
    output_name: str
    is_uint8: bool
    channels: int
    height: int
    width: int
    batch_is_free: bool  # else it is 1
    classes: int
    opset: int
    left_out: str  # the last node, where it made probabilities of logits; or ''


def read_given(path: Path) -> GivenNetwork:
    """Read an ONNX file that maps one NCHW picture to one row of logits. Raises BadInput and BadModel."""
    content = _read_bytes(path)
    refuse_unsafe(content, str(path))
    model = parse_model(content, str(path))
    opset = _require_opset(model, path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = Graph(model)
    _require_float(graph, path)
    weights = set(graph.weights)
    inputs, outputs = [i for i in model.graph.input if i.name not in weights], list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise BadInput(f"expected one input and one output in {path}, found {_names(inputs)} and {_names(outputs)}; "
                       "export what maps one picture to its logits")
    kind, (channels, height, width), free = _picture_of(inputs[0], path)
    left_out = _leave_softmax_out(model, graph)
    return _with_classes(GivenNetwork(
        path, hashlib.sha256(content).hexdigest(), model, inputs[0].name, model.graph.output[0].name,
        kind == TensorProto.UINT8, channels, height, width, free, 0, opset, left_out))


def given_logits(given: GivenNetwork, pictures: np.ndarray) -> np.ndarray:
    """Return (N, classes) logits of (N, channels, height, width) pictures, one at a time. Raises MienError."""
    engine = OnnxRuntimeEngine(given.model.SerializeToString(), str(given.path), "fp32")
    rows = [engine.run({given.input_name: picture[None]})[given.output_name] for picture in pictures]
    return np.concatenate(rows)


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise BadInput(f"expected an ONNX file, found {'a folder' if path.is_dir() else 'nothing'} at {path}; give the "
                       "path of a graph")
    try:
        if path.stat().st_size > MAX_GRAPH_BYTES:
            raise BadInput(f"expected an ONNX file of at most {MAX_GRAPH_BYTES >> 20} MiB, found more in {path}")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"expected a readable ONNX file, found {path}: {error.strerror}; check its rights") from error


def _require_opset(model: onnx.ModelProto, path: Path) -> int:
    strangers = sorted({i.domain for i in model.opset_import if i.domain not in ("", "ai.onnx")}
                       & {node.domain for node in model.graph.node} - {f.domain for f in model.functions})
    if strangers:
        raise BadInput(f"expected standard ONNX operators in {path}, found those of {', '.join(strangers)}, which "
                       "TensorRT does not have; export without them")
    opset = next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), 0)
    if not OLDEST <= opset <= OPSET:
        raise BadInput(f"expected opset {OLDEST}–{OPSET} in {path}, found {opset}; export with opset_version={OPSET}")
    return int(opset)


def _require_float(graph: Graph, path: Path) -> None:
    for node in graph.nodes:
        if node.op_type in _QUANTIZED:
            raise BadInput(f"expected a float32 graph in {path}, found {node.op_type} ({node.name}): it is quantized "
                           "already; give the graph before that, mien calibrate quantizes it")
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise BadInput(f"expected one chain of operators in {path}, found {node.op_type} ({node.name}) with a "
                           "graph of its own; export without control flow")
    for weight in graph.weights.values():
        if weight.data_type in _OTHER_FLOATS:
            raise BadInput(f"expected float32 weights in {path}, found {_OTHER_FLOATS[weight.data_type]} in "
                           f"{weight.name}; export the network in float32, mien makes its own half precision")


def _picture_of(value: onnx.ValueInfoProto, path: Path) -> tuple[int, tuple[int, int, int], bool]:
    """Return the input's type, its channels, height and width, and whether its batch is free."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.UINT8):
        raise BadInput(f"expected float32 or uint8 pictures into {path}, found "
                       f"{TensorProto.DataType.Name(tensor.elem_type).lower()}; export with a float32 example")
    sizes = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    found = "×".join(map(str, sizes)) or "no shape"
    if len(sizes) != 4 or sizes[1] not in (1, 3):
        raise BadInput(f"expected pictures of N×C×H×W with 1 or 3 channels into {path}, found {found}; a network of "
                       "N×H×W×C is exported behind a Transpose")
    batch, *rest = sizes
    fixed = [size for size in rest if isinstance(size, int)]
    if len(fixed) != 3:
        raise BadInput(f"expected a fixed height and width into {path}, found {found}; only the batch may be free: "
                       "export with an example of the size that the network was trained on")
    if isinstance(batch, int) and batch != 1:
        raise BadInput(f"expected a batch that is free, or 1, into {path}, found {batch}; {FREE_BATCH}")
    return tensor.elem_type, (fixed[0], fixed[1], fixed[2]), not isinstance(batch, int)


def _leave_softmax_out(model: onnx.ModelProto, graph: Graph) -> str:
    """End the graph before a last Softmax, whose input is the logits; return what was left out, or ''.

    LogSoftmax stays: a softmax of its output is the same as of its input.
    """
    output = model.graph.output[0]
    last = graph.producers.get(output.name)
    if last is None or last.op_type != "Softmax" or attribute(last, "axis", -1) not in (1, -1):
        return ""
    logits = helper.make_tensor_value_info(last.input[0], TensorProto.FLOAT, None)
    logits.type.tensor_type.shape.CopyFrom(output.type.tensor_type.shape)
    model.graph.output[0].CopyFrom(logits)
    model.graph.node.remove(last)
    known = [value for value in model.graph.value_info if value.name != logits.name]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    return "Softmax"


def _with_classes(given: GivenNetwork) -> GivenNetwork:
    """Ask the network itself how many logits it gives. Raises BadInput where its answer is not one finite row."""
    kind = np.uint8 if given.is_uint8 else np.float32
    try:
        row = given_logits(given, np.zeros((1, given.channels, given.height, given.width), kind))
    except MienError as error:
        raise BadInput(f"expected a graph that runs on one picture in {given.path}, found: {error}") from error
    if row.ndim != 2 or row.dtype != np.float32 or row.shape[1] < 2:
        raise BadInput(f"expected float32 logits of N×classes out of {given.path}, found {row.dtype} of "
                       f"{'×'.join(map(str, row.shape))}; end the network with its classifier's logits")
    if not np.isfinite(row).all():
        raise BadInput(f"expected finite logits for a black picture out of {given.path}, found NaN or infinity; "
                       "check the weights")
    return replace(given, classes=row.shape[1])


def _names(values: list[onnx.ValueInfoProto]) -> str:
    return " and ".join(value.name for value in values) or "none"
