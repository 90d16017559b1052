"""What TensorRT's engine inspector would tell of an engine, in TensorRT 10's schema and in 11's.

Written from NVIDIA's documentation and published samples, not by a device; a device's record will replace it:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-tools.html
https://docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/tensorrt-10x-to-11x-IEngineInspector.html
https://github.com/NVIDIA/TensorRT/tree/main/tools/experimental/trt-engine-explorer
"""

from __future__ import annotations

import json
from typing import Any, Literal

import onnx

from calibration.onnx_graph import Graph

Schema = Literal[10, 11]

# A layout in the inspector's words and the type it holds
LAYOUTS = {
    "float": ("Row major linear FP32", "Float"),
    "half": ("Channel major FP16 format where channel % 8 == 0", "Half"),
    "int8": ("Thirty-two wide channel vectorized row major Int8 format", "Int8"),
    "uint8": ("Row major linear UInt8 format", "UInt8"),
}


def layer(name: str, kind: str, reads: str, writes: str, nodes: tuple[str, ...] = (), schema: Schema = 10,
          **more: Any) -> dict[str, Any]:
    """Return one layer with one input and one output."""
    told = {"Name": name, "LayerType": kind, "Inputs": [tensor(f"{name} in", reads, schema)],
            "Outputs": [tensor(f"{name} out", writes, schema)], "TacticValue": "0x235fad4a7171cb36", "StreamId": 0,
            "Metadata": "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)}
    return told | more


def tensor(name: str, type_: str, schema: Schema) -> dict[str, Any]:
    layout, word = LAYOUTS[type_]
    told = {"Name": name, "Location": "Device", "Dimensions": [4, 32, 48, 48]}
    return told | ({"Format/Datatype": layout} if schema == 10 else {"Format": layout, "DataType": word})


def engine(layers: list[Any], schema: Schema = 10) -> str:
    """Return the whole engine's JSON."""
    if schema == 10:
        return json.dumps({"Layers": layers, "Bindings": ["faces", "logits"]})
    names = [{"Name": "faces", "IOMode": "Input", "DataType": "UInt8"},
             {"Name": "logits", "IOMode": "Output", "DataType": "Float"}]
    return json.dumps({"Layers": layers, "I/O Tensors": names, "Engine Metadata": {}})


def faithful_layers(model: onnx.ModelProto, precision: str, schema: Schema = 10) -> list[dict[str, Any]]:
    """Return the layers of an engine that does what a VGG's graph asks; convolutions are fused with ReLU and Q."""
    graph, type_ = Graph(model), {"fp32": "float", "fp16": "half", "int8": "int8"}[precision]
    word, between = {"float": "Float", "half": "Half", "int8": "Int8"}[type_], "half" if type_ == "int8" else type_
    first = [node.name for node in graph.nodes[:4 if precision != "fp32" else 3]]
    layers = [layer("__myl_CastMulAddCast_myl0_0", "kgen", "uint8", type_, tuple(first), schema,
                    TacticName="__myl_CastMulAddCast_0xf2543c36ff9f104bbb1655b0183afb47")]
    for node in graph.nodes:
        after = graph.reads(node.output[0])
        if node.op_type == "Conv":
            relu = after[0]
            name = f"{node.input[1]} + {node.name} + {relu.name}"
            layers.append(layer(name, "CaskConvolution", type_, type_, (node.name, relu.name), schema,
                                ParameterType="Convolution", Weights={"Type": word, "Count": 288},
                                Bias={"Type": "Float", "Count": 32}, HasReLU=1, TacticName="sm80_xmma_fprop"))
        elif node.op_type == "MaxPool":
            layers.append(layer(node.name, "CaskPooling", type_, type_, (node.name,), schema, ParameterType="Pooling"))
        elif node.op_type in ("ReduceMean", "Reshape"):
            layers.append(layer(f"__myl_{node.op_type}_myl0_{len(layers)}", "kgen", type_, type_, (node.name,), schema))
        elif node.op_type == "Gemm":
            layers.append(layer(f"{node.name}_myl0_{len(layers)}", "gemm", type_, between, (node.name,), schema,
                                TacticName="sm80_xmma_gemm_i8i8_i8i32_f32_tn_n"))
        elif node.op_type == "Cast" and node is graph.nodes[-1]:
            layers.append(layer(node.name, "Reformat", "half", "float", (node.name,), schema))
    return layers
