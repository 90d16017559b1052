"""Float32 ONNX graphs with the shapes of our networks, small enough to calibrate and run in milliseconds.

Knows nothing of training: the weights are random, the biases too. Written in PyTorch's style (OIHW, transB).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIDE, CLASSES = 16, 5


class GraphWriter:
    """Adds nodes one behind the other; every method takes a tensor's name and returns the next one's."""

    def __init__(self, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def constant(self, name: str, values: np.ndarray) -> str:
        name = f"{name}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def floats(self, name: str, *shape: int) -> str:
        spread = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
        return self.constant(name, self.random.normal(0, spread, shape).astype(np.float32))

    def pixels(self) -> str:
        scaled = self.node("Mul", [self.node("Cast", ["faces"], to=TensorProto.FLOAT),
                                   self.constant("scale", np.float32(1 / 64))])
        return self.node("Add", [scaled, self.constant("shift", np.float32(-2))])

    def conv(self, x: str, channels: int, outputs: int, size: int = 3, group: int = 1, stride: int = 1) -> str:
        weight = self.floats("weight", outputs, channels // group, size, size)
        return self.node("Conv", [x, weight, self.floats("bias", outputs)], group=group, pads=[size // 2] * 4,
                         strides=[stride] * 2)

    def conv_relu(self, x: str, channels: int, outputs: int, size: int = 3, group: int = 1) -> str:
        return self.node("Relu", [self.conv(x, channels, outputs, size, group)])

    def pool(self, x: str) -> str:
        return self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def mean(self, x: str, *axes: int, keep: int = 1) -> str:
        return self.node("ReduceMean", [x, self.constant("axes", np.array(axes, dtype=np.int64))], keepdims=keep)

    def linear(self, x: str, channels: int, outputs: int) -> str:
        """Multiply the last axis of more than two, as torch.onnx writes nn.Linear there: MatMul, then Add."""
        product = self.node("MatMul", [x, self.floats("matrix", channels, outputs)])
        return self.node("Add", [product, self.floats("bias", outputs)])

    def classify(self, x: str, channels: int) -> None:
        """Flatten (N, channels, 1, 1) and end the graph with one Gemm."""
        flat = self.node("Flatten", [x])
        self.nodes.append(helper.make_node(
            "Gemm", [flat, self.floats("weight", CLASSES, channels), self.floats("bias", CLASSES)], ["logits"],
            name="classify", transB=1))

    def model(self, opset: int = 20) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "tiny", [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])], self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        onnx.checker.check_model(made, full_check=True)
        return made


def vgg_graph() -> onnx.ModelProto:
    """small-vgg's topology: conv-ReLU twice, max pooling, conv-ReLU, mean over places, Gemm."""
    w = GraphWriter()
    x = w.conv_relu(w.conv_relu(w.pixels(), 1, 8), 8, 8)
    x = w.conv_relu(w.pool(x), 8, 16)
    w.classify(w.mean(x, 2, 3), 16)
    return w.model()


def attention_graph() -> onnx.ModelProto:
    """light-vgg16's topology: separable convolutions, then x · (channel gate + spatial gate), then max pooling."""
    w = GraphWriter()
    x = w.conv_relu(w.conv_relu(w.pixels(), 1, 8), 8, 8, group=8)
    x = w.conv_relu(x, 8, 8, size=1)
    pooled = w.node("Unsqueeze", [w.mean(x, 2, 3, keep=0), w.constant("axes", np.array([1], dtype=np.int64))])
    mixed = w.node("Conv", [pooled, w.floats("gate", 1, 1, 3)], pads=[1, 1])
    channel = w.node("Transpose", [w.node("Sigmoid", [mixed])], perm=[0, 2, 1])
    channel = w.node("Unsqueeze", [channel, w.constant("axes", np.array([3], dtype=np.int64))])
    largest = w.node("ReduceMax", [x, w.constant("axes", np.array([1], dtype=np.int64))], keepdims=1)
    both = w.node("Concat", [largest, w.mean(x, 1)], axis=1)
    spatial = w.node("Sigmoid", [w.node("Conv", [both, w.floats("gate", 1, 2, 1, 1), w.floats("gate_bias", 1)])])
    x = w.pool(w.node("Mul", [x, w.node("Add", [channel, spatial])]))
    x = w.conv_relu(w.conv_relu(x, 8, 8, group=8), 8, 16, size=1)
    w.classify(w.node("GlobalAveragePool", [x]), 16)
    return w.model()


def branching_graph() -> onnx.ModelProto:
    """A pooled tensor that a convolution reads as integers and a mean reads as floats."""
    w = GraphWriter()
    x = w.pool(w.conv_relu(w.pixels(), 1, 8))
    strong = w.node("GlobalAveragePool", [w.conv_relu(x, 8, 8)])
    w.classify(w.node("Add", [strong, w.node("GlobalAveragePool", [x])]), 8)
    return w.model()


def residual_graph() -> onnx.ModelProto:
    """ResNet's topology, batch norms folded: an identity and a projected skip, the branches in either order."""
    w = GraphWriter()
    x = w.conv_relu(w.pixels(), 1, 8)
    x = w.node("Relu", [w.node("Add", [x, w.conv(w.conv_relu(x, 8, 8), 8, 8)])])
    main = w.conv(w.node("Relu", [w.conv(x, 8, 16, stride=2)]), 16, 16)
    x = w.node("Relu", [w.node("Add", [main, w.conv(x, 8, 16, size=1, stride=2)])])
    w.classify(w.mean(x, 2, 3), 16)
    return w.model()


def tokens_graph() -> onnx.ModelProto:
    """A mixer's topology: a convolution, each channel's places as a row, two linear layers over them, mean, Gemm."""
    w = GraphWriter()
    x = w.node("Reshape", [w.pool(w.conv_relu(w.pixels(), 1, 8)), w.constant("to", np.array([0, 8, -1]))])
    x = w.node("Relu", [w.linear(x, 64, 16)])
    w.classify(w.mean(w.linear(x, 16, 12), 2), 8)
    return w.model()


GRAPHS = {"vgg": vgg_graph, "attention": attention_graph, "branching": branching_graph,
          "residual": residual_graph, "tokens": tokens_graph}


def random_faces(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 1, 16, 16) uint8 of noise, each under another light."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 40, (count, 1, SIDE, SIDE)) + random.uniform(40, 200, (count, 1, 1, 1))
    return np.clip(noise, 0, 255).astype(np.uint8)


def run_as_written(model: onnx.ModelProto, outputs: list[str], faces: np.ndarray) -> dict[str, np.ndarray]:
    """Run every node as it stands, nothing fused, and return the named tensors."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    for name in outputs:
        if name not in {o.name for o in exposed.graph.output}:
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.INT8, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(outputs, {"faces": faces})))
