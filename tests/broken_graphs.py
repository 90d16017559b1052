"""For every rule of the lint a small graph that breaks it and one that does not, in ONNX's own text form.

Knows nothing of the rules' code. Unnamed nodes are called by their kind and place: `Conv_3`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_random = np.random.default_rng(0)
Weights = dict[str, "np.ndarray | TensorProto"]


def floats(*shape: int) -> np.ndarray:
    return _random.normal(0, 0.1, shape).astype(np.float32)


def integers(*shape: int) -> np.ndarray:
    return _random.integers(-127, 128, shape).astype(np.int8)


def graph(nodes: str, weights: Weights | None = None, reads: str = "float[batch,32,8,8] x",
          writes: str = "float[batch,32,8,8] y", opset: int = 20, imports: str = "", functions: str = "",
          ) -> onnx.ModelProto:
    """Return a model of ONNX text: one node a line, weights by name, the input `x`, the output `y`."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}{imports}]>\n'
                                    f"tiny ({reads}) => ({writes}) {{\n{nodes}\n}}\n{functions}")
    for name, values in (weights or {}).items():
        tensor = values if isinstance(values, TensorProto) else numpy_helper.from_array(values, name)
        tensor.name = name
        model.graph.initializer.append(tensor)
    return model


# conv → ReLU on integers, as int8-gpu.onnx has it: every rule's good neighbour
CONV = """xq = QuantizeLinear(x, s, z)
xd = DequantizeLinear(xq, s, z)
wd = DequantizeLinear<axis=0>(w, ws, wz)
c = Conv<pads=[1,1,1,1]>(xd, wd, b)
"""
INT8 = CONV + "y = Relu(c)"
SCALE, ZERO = np.array(0.05, np.float32), np.array(0, np.int8)
INT8_WEIGHTS: Weights = {"s": SCALE, "z": ZERO, "w": integers(32, 32, 3, 3), "ws": np.full(32, 0.01, np.float32),
                         "wz": np.zeros(32, np.int8), "b": floats(32)}
DEPTHWISE = INT8.replace("Conv<", "Conv<group=32,")
PER_TENSOR = INT8.replace("<axis=0>", "")
ADDED = CONV + "a = Add(c, xd)\ny = Relu(a)"
ROUNDED = CONV + "cq = QuantizeLinear(c, s, z)\ncd = DequantizeLinear(cq, s, z)\n"
PAIR: Weights = {"s": SCALE, "z": ZERO}
TIMES = "k = DequantizeLinear(c, s, z)\ny = Mul(x, k)"
BATCH_NORM: Weights = {"one": np.ones(32, np.float32), "nil": np.zeros(32, np.float32)}


def int8(nodes: str = INT8, **changed: np.ndarray) -> onnx.ModelProto:
    """Return the good neighbour with other nodes or other weights; those that no node reads are left out."""
    weights = {name: values for name, values in (INT8_WEIGHTS | BATCH_NORM | changed).items()
               if any(name in line.partition("(")[2].rstrip(")").split(", ") for line in nodes.splitlines())}
    return graph(nodes, weights)


def channels(inputs: int, outputs: int) -> onnx.ModelProto:
    weights = INT8_WEIGHTS | {"w": integers(outputs, inputs, 3, 3), "ws": np.full(outputs, 0.01, np.float32),
                              "wz": np.zeros(outputs, np.int8), "b": floats(outputs)}
    return graph(INT8, weights, f"float[batch,{inputs},8,8] x", f"float[batch,{outputs},8,8] y")


def external(location: str) -> TensorProto:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("length", "32")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def truncated() -> TensorProto:
    tensor = numpy_helper.from_array(floats(8))
    tensor.raw_data = tensor.raw_data[:10]
    return tensor


def sparse() -> onnx.ModelProto:
    model = graph("y = Add(x, w)")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("i", TensorProto.INT64, [1], [0]),
        [8]))
    return model


def without_shape() -> onnx.ModelProto:
    model = graph("y = Relu(x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


RELU = graph("y = Relu(x)")
ADD = graph("y = Add(x, w)", {"w": floats(8)})
GOOD = int8()
PIXELS = "uint8[batch,32,8,8] x"


@dataclass(frozen=True)
class Case:
    """What breaks a rule, where the finding must point, and a neighbour that keeps it."""

    broken: onnx.ModelProto
    place: str
    mended: onnx.ModelProto = field(default_factory=int8)


CASES: dict[str, Case] = {
    "invalid": Case(graph("y = Add(x, nobody)"), "tiny", ADD),
    "operator": Case(graph("y = Det(x)", writes="float[batch,32] y"), "Det_0", RELU),
    "plugin": Case(graph("y = acme.Foo(x)", imports=', "acme": 1'), "Foo_0", RELU),
    "dtype": Case(graph("i = Cast<to=5>(x)\ny = Cast<to=1>(i)"), "Cast_0",
                  graph("i = Cast<to=6>(x)\ny = Cast<to=1>(i)")),
    "uint8-inside": Case(graph("a = Transpose<perm=[0,1,3,2]>(x)\ny = Cast<to=1>(a)", reads=PIXELS), "Transpose_0",
                         graph("a = Cast<to=1>(x)\ny = Transpose<perm=[0,1,3,2]>(a)", reads=PIXELS)),
    "sparse-weights": Case(sparse(), "w", ADD),
    "input-shape": Case(without_shape(), "x", RELU),
    "batch-missing": Case(graph("y = Conv(x, w)", {"w": floats(32, 32, 3, 3)}, "float[32,8,8] x", "float[32,6,6] y"),
                          "Conv_0", graph("y = Conv(x, w)", {"w": floats(32, 32, 3, 3)}, writes="float[b,32,6,6] y")),
    "external-data-outside": Case(graph("y = Add(x, w)", {"w": external("../w.bin")}), "w", ADD),
    "external-data": Case(graph("y = Add(x, w)", {"w": external("w.bin")}), "w", ADD),
    "opset": Case(graph("y = Relu(x)", opset=21), "graph", RELU),
    "double": Case(graph("d = Cast<to=11>(x)\ne = Relu(d)\ny = Cast<to=1>(e)"), "Cast_0", RELU),
    "batch-fixed": Case(graph("y = Relu(x)", reads="float[1,32,8,8] x", writes="float[1,32,8,8] y"), "x", RELU),
    "dynamic-shape": Case(graph("y = Relu(x)", reads="float[n,32,h,w] x", writes="float[n,32,h,w] y"), "x", RELU),
    "int64-data": Case(graph("i = Cast<to=7>(x)\ny = Cast<to=1>(i)"), "Cast_0",
                       graph("i = Cast<to=6>(x)\ny = Cast<to=1>(i)")),
    "weights-damaged": Case(graph("y = Add(x, w)", {"w": truncated()}), "w", ADD),
    "weights-not-finite": Case(graph("y = Add(x, w)", {"w": np.array([1, np.nan], np.float32).repeat(4)}), "w", ADD),
    "scale-not-positive": Case(int8(ws=np.array([0.01] * 31 + [0], np.float32)), "DequantizeLinear_2"),
    "scale-denormal": Case(int8(s=np.array(1e-40, np.float32)), "QuantizeLinear_0"),
    "half-overflow": Case(graph("y = Add(x, w)", {"w": np.full(8, 1e6, np.float32)}), "w", ADD),
    "bias-int32": Case(int8("bd = DequantizeLinear<axis=0>(bq, ws)\n" + INT8.replace("wd, b)", "wd, bd)"),
                            bq=np.ones(32, np.int32)), "DequantizeLinear_0"),
    "zero-point": Case(int8(z=np.array(3, np.int8)), "QuantizeLinear_0"),
    "uint8-integers": Case(int8(w=integers(32, 32, 3, 3).view(np.uint8), wz=np.zeros(32, np.uint8)),
                           "DequantizeLinear_2"),
    "int8-constant": Case(graph(TIMES, PAIR | {"c": np.array(3, np.int8)}), "DequantizeLinear_0",
                          graph(TIMES, PAIR | {"c": np.array([3], np.int8)})),
    "uint8-activations": Case(int8(z=np.array(0, np.uint8)), "QuantizeLinear_0"),
    "weights-per-tensor-depthwise": Case(
        int8(DEPTHWISE.replace("<axis=0>", ""), w=integers(32, 1, 3, 3), ws=SCALE, wz=ZERO), "Conv_3",
        int8(DEPTHWISE, w=integers(32, 1, 3, 3))),
    "weights-per-tensor": Case(int8(PER_TENSOR, ws=SCALE, wz=ZERO), "Conv_3"),
    "activations-per-channel": Case(
        int8(INT8.replace("Linear(x", "Linear<axis=1>(x"), s=np.full(32, 0.05, np.float32), z=np.zeros(32, np.int8)),
        "QuantizeLinear_0"),
    "q-without-dq": Case(graph("q = QuantizeLinear(x, s, z)\ny = Relu(q)", PAIR,
                               writes="int8[batch,32,8,8] y"), "QuantizeLinear_0"),
    "dq-without-q": Case(graph("d = DequantizeLinear(x, s, z)\ny = Relu(d)", PAIR,
                               reads="int8[batch,32,8,8] x"), "DequantizeLinear_0"),
    "pair-differs": Case(int8(INT8.replace("(xq, s", "(xq, s2"), s2=2 * SCALE), "DequantizeLinear_1"),
    "float-data": Case(int8("wd = DequantizeLinear<axis=0>(w, ws, wz)\ny = Conv<pads=[1,1,1,1]>(x, wd, b)"), "Conv_1"),
    "fusion-relu": Case(int8(ROUNDED + "y = Relu(cd)"), "Relu_6"),
    "fusion-batch-norm": Case(int8(ROUNDED + "y = BatchNormalization(cd, one, b, nil, one)"), "BatchNormalization_6",
                              int8(CONV + "y = BatchNormalization(c, one, b, nil, one)")),
    "fusion-add": Case(int8(ROUNDED + "a = Add(cd, xd)\ny = Relu(a)"), "Add_6", int8(ADDED)),
    "residual-float": Case(int8(CONV + "a = Add(c, x)\ny = Relu(a)"), "Add_4", int8(ADDED)),
    "depthwise-int8": Case(int8(DEPTHWISE, w=integers(32, 1, 3, 3)), "Conv_3"),
    "channels-4": Case(channels(3, 32), "Conv_3"),
    "channels-32": Case(channels(32, 16), "Conv_3"),
    "cpu-form": Case(
        int8(ROUNDED + "r = Relu(cd)\nrq = QuantizeLinear(r, s, z)\ny = DequantizeLinear(rq, s, z)"), "graph"),
}
