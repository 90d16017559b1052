"""Where a network's first layer can read the camera's own 256 grey levels: INT8 has as many.

`pixels · a + b` rounded by a range that was observed puts 256 levels on other 256, and each is up to half a level off;
in mien-light that was the largest error of all layers. Integers that *are* the pixels, `pixel - zero`, lose nothing:
the graph then reads `(pixels - zero) · scale` in front of the Q, and what this differs from its own values by, the same
everywhere, moves into the biases of the convolutions behind it. Zero padding still has to mean what it meant, so `zero`
is the pixel that the graph maps nearest to 0, and it has to lie where INT8 holds all others: 127–129 (129 counts black
as 1, 127 white as 254; a tie is 128's). Scalings by channel, and those that map black to 0, stay as they are. Knows
nothing of how ranges are observed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.onnx_graph import Graph, Names, attribute, tensor_names
from calibration.ranges import LEVELS, Method, choose_threshold, scale_of
from runtime.histogram import Histogram

ZEROS = (127, 128, 129)  # pixel - zero is then within -128–127, but for one level at one end
_MIDDLE = 127.5


@dataclass(frozen=True)
class PixelGrid:
    """A tensor of scaled pixels that one INT8 step a grey level fits: value ≈ (pixel - zero) · scale + shift."""

    tensor: str
    pixels: str  # the same as 0–255 floats
    between: tuple[str, ...]  # nodes from `pixels` to `tensor`
    layers: tuple[str, ...]  # convolutions that read `tensor`; nobody else does
    zero: int
    scale: np.float32
    shift: float
    shape: tuple[int, ...]  # of the scaling's operands together: they may repeat one channel for a network of three

    @property
    def threshold(self) -> float:
        """The magnitude that integer 127 stands for."""
        return float(self.scale) * LEVELS


def pixel_grid(graph: Graph) -> PixelGrid | None:
    """Return the grid of a graph's uint8 pixels, or None where its scaling, or what reads it, does not allow one."""
    pixels = _float_pixels(graph)
    if pixels is None:
        return None
    tensor, factor, offset, between, shape = pixels, 1.0, 0.0, [], ()
    while (step := _uniform_step(graph, tensor)) is not None:
        node, operand, sizes = step
        shape = np.broadcast_shapes(shape, sizes)
        if node.op_type in ("Mul", "Div"):
            by = operand if node.op_type == "Mul" else 1 / operand
            factor, offset = factor * by, offset * by
        else:
            offset += operand if node.op_type == "Add" else -operand
        between.append(node.name)
        tensor = node.output[0]
    layers = graph.reads(tensor)
    shiftable = bool(layers) and all(_takes_a_shift(graph, node, tensor) for node in layers)
    if not between or not shiftable or tensor in graph.outputs:
        return None
    half = np.finfo(np.float16)
    if not float(half.tiny) <= factor <= float(half.max) or not np.isfinite(offset / factor):
        return None
    scale, zero = np.float32(np.float16(factor)), _nearest(-offset / factor)
    if zero not in ZEROS:
        return None
    shift = (factor - float(scale)) * _MIDDLE + offset + float(scale) * zero
    return PixelGrid(tensor, pixels, tuple(between), tuple(n.name for n in layers), zero, scale, shift, shape)


def _nearest(pixel: float) -> int:
    """Return the whole pixel that stands for 0; where two are as near, 128, behind which INT8 holds all 256."""
    return 128 if abs(pixel - 128) < 0.51 else round(pixel)


def grid_in_use(graph: Graph, scales: Mapping[str, np.float32], layers: Collection[str]) -> PixelGrid | None:
    """Return the grid if these scales are its own and every layer that reads it is among those to be quantized."""
    grid = pixel_grid(graph)
    used = grid is not None and scales.get(grid.tensor) == grid.scale and set(layers).issuperset(grid.layers)
    return grid if used else None


def _float_pixels(graph: Graph) -> str | None:
    """Return the float32 copy of the graph's only input, if that is uint8 and nothing else reads it."""
    inputs = [i for i in graph.model.graph.input if i.name not in graph.weights]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.UINT8:
        return None
    readers = graph.reads(inputs[0].name)
    casts = len(readers) == 1 and readers[0].op_type == "Cast" and attribute(readers[0], "to", 0) == TensorProto.FLOAT
    return str(readers[0].output[0]) if casts else None


def _uniform_step(graph: Graph, tensor: str) -> tuple[onnx.NodeProto, float, tuple[int, ...]] | None:
    """Return the node that alone reads a tensor, its operand, where that is one number everywhere, and its shape."""
    readers = graph.reads(tensor)
    if len(readers) != 1 or tensor in graph.outputs or readers[0].op_type not in ("Mul", "Div", "Add", "Sub"):
        return None
    node = readers[0]
    others = [name for name in node.input if name != tensor]
    swapped = node.op_type in ("Div", "Sub") and node.input[0] != tensor
    if len(others) != 1 or others[0] not in graph.weights or swapped:
        return None
    values = graph.weight(others[0]).astype(np.float64)
    if values.size == 0 or (values != values.flat[0]).any() or (node.op_type in ("Mul", "Div") and not values.flat[0]):
        return None
    return node, float(values.flat[0]), values.shape


def _takes_a_shift(graph: Graph, node: onnx.NodeProto, tensor: str) -> bool:
    """Is this a convolution of the tensor with constant weights, and constant biases or none?"""
    return (node.op_type == "Conv" and node.input[0] == tensor and node.input[1] in graph.weights
            and (len(node.input) < 3 or not node.input[2] or node.input[2] in graph.weights))


def onto_grid(graph: Graph, grid: PixelGrid) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the graph's nodes and weights with the pixels on their grid; every tensor and layer keeps its name."""
    nodes: list[onnx.NodeProto] = []
    weights, names = dict(graph.weights), tensor_names(graph.nodes, graph.weights.values())
    for node in graph.nodes:
        if node.name in grid.between:
            if node.name == grid.between[-1]:
                nodes += _grid_nodes(grid, weights, names)
            continue
        nodes.append(_shifted(graph, node, grid.shift, weights, names) if node.name in grid.layers else node)
    return nodes, list(weights.values())


def _grid_nodes(grid: PixelGrid, weights: dict[str, onnx.TensorProto], names: Names) -> list[onnx.NodeProto]:
    centred, zero, scale = (names.new(f"{grid.tensor}_{what}") for what in ("centred", "zero", "level"))
    weights[zero] = numpy_helper.from_array(np.float32(-grid.zero).reshape(()), zero)
    weights[scale] = numpy_helper.from_array(np.full(grid.shape, grid.scale, np.float32), scale)
    return [helper.make_node("Add", [grid.pixels, zero], [centred], name=f"{grid.tensor}/centred"),
            helper.make_node("Mul", [centred, scale], [grid.tensor], name=f"{grid.tensor}/grid")]


def _shifted(graph: Graph, node: onnx.NodeProto, shift: float, weights: dict[str, onnx.TensorProto],
             names: Names) -> onnx.NodeProto:
    """Return a convolution whose biases hold what its input has less; of a bias read elsewhere too, a copy."""
    kernel = graph.weight(node.input[1]).astype(np.float64)
    old = node.input[2] if len(node.input) > 2 else ""
    biases = graph.weight(old).astype(np.float64) if old else np.zeros(len(kernel))
    biases = biases + shift * kernel.sum(axis=tuple(range(1, kernel.ndim)))
    name = old if old and len(graph.reads(old)) == 1 else names.new(f"{node.name}_bias")
    weights[name] = numpy_helper.from_array(biases.astype(np.float32), name)
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    del moved.input[2:]
    moved.input.append(name)
    return moved


def choose_thresholds(model: onnx.ModelProto, histograms: dict[str, Histogram], method: Method, percentile: float,
                      layers: Collection[str] | None = None) -> dict[str, float]:
    """Return the magnitude to clip each tensor at: by the method, and where pixels have a grid, by that.

    layers: those to be quantized, all if None; without every one that reads the pixels there is no grid. Raises
    BadInput for a method or percentile that is none.
    """
    thresholds = {name: choose_threshold(histogram, method, percentile) for name, histogram in histograms.items()}
    return on_grid(model, thresholds, layers)


def on_grid(model: onnx.ModelProto, thresholds: dict[str, float],
            layers: Collection[str] | None = None) -> dict[str, float]:
    """Return thresholds with that of the pixels' grid, if there is one and all that read it are among `layers`."""
    grid = pixel_grid(Graph(model))
    if grid is None or grid.tensor not in thresholds or (layers is not None and not set(layers) >= set(grid.layers)):
        return thresholds
    return thresholds | {grid.tensor: grid.threshold}


def choose_scales(model: onnx.ModelProto, histograms: dict[str, Histogram], method: Method,
                  percentile: float) -> dict[str, np.float32]:
    """Return the scale of each tensor, as `quantize` takes them, from `choose_thresholds`."""
    thresholds = choose_thresholds(model, histograms, method, percentile)
    return {name: scale_of(threshold) for name, threshold in thresholds.items()}
