"""An expression model → the files that DeepStream's nvinfer reads it with, behind a detector of DeepStream's own.

nvinfer shows a network float pixels and expects probabilities, so the graph here takes float32 and ends in the card's
softmax; all between is the model's own graph. It cuts the detector's box as it is and stretches it to the input, where
the stream cuts a square: other pixels, so no figure of this model holds there. Unverified: no DeepStream was here.

Read in NVIDIA's Gst-nvinfer page (https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html):
y = net-scale-factor · (x - offset), the keys and their numbers. In libnvds_infer's sources, which come with DeepStream
(nvdsinfer_context_impl.cpp): the input is written as float32, and a line of the labels file names one output's classes
between semicolons.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import parse_model
from export.triton.build_plans import Plan, build_script
from runtime.card import Model
from runtime.engines import graph_for
from runtime.errors import BadInput, BadModel

PROBABILITIES = "probabilities"
NETWORK_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
COLOUR_FORMATS = {"rgb": 0, "grey": 2}


def deepstream_files(model: Model, precision: str, threshold: float, batch: int) -> dict[str, bytes]:
    """Return the graph, its nvinfer configuration, the labels and the script that compiles it, by file name.

    Raises BadInput, BadModel; where the card cuts faces in a way that nvinfer cannot, it says which.
    """
    card = model.card
    if card.task != "expression":
        raise BadInput(f"expected a model that reads expressions, found {model.directory}, which finds {card.task}s; "
                       "DeepStream's detector is yours to choose")
    cannot = [word for word, asked in (("equalize", card.input.equalize), ("resize", card.input.resize is not None),
                                       ("template", card.input.template is not None), ("margin", card.input.margin))
              if asked]
    if cannot:
        raise BadInput(f"expected a card whose faces are the detector's box, found {', '.join(cannot)} in "
                       f"{model.directory}, which nvinfer does not do; serve it with --triton")
    if not 1 <= batch <= card.batches[2]:
        raise BadInput(f"expected --max-faces of 1–{card.batches[2]}, found {batch}; give another")
    if bad := [label for label in card.labels if ";" in label or "\n" in label]:
        raise BadInput(f"expected labels without semicolons, found {bad[0]!r}; nvinfer's labels file has no escape")
    graph = graph_for(precision, "tensorrt")
    content = float_in_probabilities_out(model, graph)
    how = card.input
    plan = Plan(card.name, "expressions.onnx", "expressions.engine", hashlib.sha256(content).hexdigest(),
                card.input_name, (how.channels, how.height, how.width), (1, batch, batch))
    return {"expressions.onnx": content, "labels.txt": ";".join(card.labels).encode() + b"\n",
            "nvinfer-expressions.txt": _config(model, precision, threshold, batch),
            "build-plans.sh": build_script([plan])}


def float_in_probabilities_out(model: Model, graph: str) -> bytes:
    """Return a graph whose input is float32 pixels of 0–255 and whose output is softmax(logits / temperature).

    Raises BadModel where the input is read by more than the Cast that begins it.
    """
    card = model.card
    proto = parse_model(model.read_graph(graph), f"{model.directory}/{graph}.onnx")
    readers = [node for node in proto.graph.node if card.input_name in node.input]
    if [node.op_type for node in readers] != ["Cast"] or [i.name for i in proto.graph.input] != [card.input_name]:
        raise BadModel(f"expected one Cast that reads {card.input_name} in {model.directory}/{graph}.onnx, found "
                       f"{', '.join(node.op_type for node in readers) or 'nothing'}; export the model again")
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    temperature = numpy_helper.from_array(np.float32(card.temperature), "mien_temperature")
    proto.graph.initializer.append(temperature)
    proto.graph.node.extend([
        helper.make_node("Div", [card.output_name, temperature.name], ["mien_cooled"], name="mien_cool"),
        helper.make_node("Softmax", ["mien_cooled"], [PROBABILITIES], name="mien_softmax", axis=1)])
    del proto.graph.output[:]
    proto.graph.output.append(
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", len(card.labels)]))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def _config(model: Model, precision: str, threshold: float, batch: int) -> bytes:
    card, how = model.card, model.card.input
    return f"""# {card.name} behind a face detector, for DeepStream's nvinfer (secondary). Paths are beside this file.
# Normalization is in the graph: the scale is 1, and there are no offsets.
[property]
gie-unique-id=2
process-mode=2
network-type=1
operate-on-gie-id=1
operate-on-class-ids=0
onnx-file=expressions.onnx
model-engine-file=expressions.engine
labelfile-path=labels.txt
batch-size={batch}
network-mode={NETWORK_MODES[precision]}
infer-dims={how.channels};{how.height};{how.width}
model-color-format={COLOUR_FORMATS[how.colour]}
net-scale-factor=1
maintain-aspect-ratio=0
output-blob-names={PROBABILITIES}
classifier-threshold={threshold:g}
input-object-min-width=8
input-object-min-height=8
""".encode()
