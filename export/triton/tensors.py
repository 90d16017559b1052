"""An ONNX graph's inputs and outputs, as a server's configuration names them.

Knows nothing of configurations or of what the numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from calibration.onnx_graph import parse_model
from runtime.card import Model
from runtime.errors import BadModel

FREE = -1  # a size that each request decides
# ONNX's element types → the names in Triton's model_config.proto
TYPES: dict[int, str] = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


@dataclass(frozen=True)
class Tensor:
    """One input or output without its batch; FREE stands for a size that may vary."""

    name: str
    type: str
    dims: tuple[int, ...]


def tensors_of(model: Model, graph: str) -> tuple[Tensor, Tensor]:
    """Return the input and the output that a model's card promises, as they stand in one of its graphs.

    Raises BadModel where the graph has others, or no free batch: a server could not put requests together.
    """
    place = str(model.directory / model.card.graphs[graph].file) if graph in model.card.graphs else graph
    proto = parse_model(model.read_graph(graph), place).graph
    values = [*proto.input, *proto.output]
    names = [value.name for value in values]
    if names != [model.card.input_name, model.card.output_name]:
        raise BadModel(f"expected {model.card.input_name} → {model.card.output_name} in {place}, as its card says, "
                       f"found {', '.join(names)}; export the model again")
    source, answer = (_tensor(value, place) for value in values)
    if source.dims[0] not in (model.card.input.channels, FREE):
        raise BadModel(f"expected {model.card.input.channels} channels in {place}, as its card says, found "
                       f"{source.dims[0]}; export the model again")
    return source, answer


def _tensor(value: onnx.ValueInfoProto, place: str) -> Tensor:
    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        raise BadModel(f"expected uint8 or float32 for {value.name} in {place}, found ONNX type {kind.elem_type}; "
                       "export the model again")
    sizes = [dim.dim_value if dim.HasField("dim_value") else FREE for dim in kind.shape.dim]
    if not sizes or sizes[0] != FREE:
        raise BadModel(f"expected a free batch first in {value.name} of {place}, found {sizes}; export the model again")
    return Tensor(value.name, TYPES[kind.elem_type], tuple(sizes[1:]))
