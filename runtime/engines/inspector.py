"""What is in a compiled engine: TensorRT's engine inspector, asked on a device, and its JSON read anywhere.

Two schemas are read, TensorRT 10's (`Format/Datatype`) and 11's (`Format` and `DataType`), and files that `trtexec
--exportLayerInfo` wrote. Written from NVIDIA's documentation and public samples; no device has confirmed it here yet.
Knows nothing of what was asked for (`layer_verdicts.py`).
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-tools.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.engines.tensorrt_api import load_compiler, runtime_logger
from runtime.errors import BadInput, MienError

# How the inspector words a tensor's type, alone ("Half") or within a layout ("Channel major FP16 format where …"), and
# the name that TensorRT's DataType has for it
_WORDS = {
    "fp32": "float", "float": "float", "fp16": "half", "half": "half", "bf16": "bf16", "bfloat16": "bf16",
    "int8": "int8", "uint8": "uint8", "fp8": "fp8", "int4": "int4", "fp4": "fp4", "int32": "int32", "int64": "int64",
    "bool": "bool", "double": "double",
}
_TYPE = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=\s*(?:\[ONNX|[\x1e\x1f]|$))")


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine. A type that the inspector does not say is ''.

    kind: the inspector's LayerType. reads, writes: types of its inputs and outputs. weights: the type they are stored
    in. onnx_nodes: the graph's nodes it says it came from; none where the version or the layer does not say.
    """

    name: str
    kind: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    weights: str = ""
    tactic: str = ""
    operation: str = ""
    onnx_nodes: tuple[str, ...] = ()


def ask_inspector(content: bytes, target: str, shapes: Mapping[str, Sequence[int]]) -> str:
    """Open an engine on the GPU that is here and return the inspector's JSON on all of its layers.

    shapes: input → the shape to look at. Without one, the types of a dynamic engine's tensors are not told (NVIDIA's
    documentation, above). Raises MienError with TensorRT's own words.
    """
    library = load_compiler(target)
    logger = runtime_logger(library)
    logger.problems.clear()
    runtime = library.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(content)
    context = engine.create_execution_context() if engine is not None else None
    if context is None:
        raise MienError(f"expected {target} to open its own engine, found: {'; '.join(logger.problems[-3:])}")
    for name, shape in shapes.items():
        if not context.set_input_shape(name, tuple(shape)):
            raise MienError(f"expected the engine to take {name} of {tuple(shape)}, found: "
                            f"{'; '.join(logger.problems[-3:])}; inspect it with a shape of its profile")
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(library.LayerInformationFormat.JSON))


def parse_layers(text: str, name: str) -> tuple[EngineLayer, ...]:
    """Read the inspector's JSON; layers of which it tells only names have no types. Raises BadInput with the file."""
    try:
        values = json.loads(text)
        layers = values["Layers"] if isinstance(values, dict) else values
        if not isinstance(layers, list) or not layers:
            raise ValueError("no layers")
        return tuple(_layer(layer) for layer in layers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"expected the engine inspector's JSON with Layers in {name}, found {type(error).__name__}: "
                       f"{error}; take what mien build or trtexec --exportLayerInfo wrote on the device") from error


def _layer(values: dict[str, Any] | str) -> EngineLayer:
    if isinstance(values, str):  # built with LAYER_NAMES_ONLY
        return EngineLayer(values, "")
    weights = values.get("Weights")
    return EngineLayer(
        name=str(values["Name"]),
        kind=str(values.get("LayerType", "")),
        reads=tuple(_type_of(tensor) for tensor in values.get("Inputs", ())),
        writes=tuple(_type_of(tensor) for tensor in values.get("Outputs", ())),
        weights=_type_in(str(weights.get("Type", ""))) if isinstance(weights, dict) else "",
        tactic=str(values.get("TacticName", "")),
        operation=str(values.get("ParameterType", "")),
        onnx_nodes=tuple(dict.fromkeys(_ONNX_LAYER.findall(str(values.get("Metadata", ""))))),
    )


def _type_of(tensor: Mapping[str, Any]) -> str:
    """The type of one input or output, whichever version wrote it."""
    words = (tensor.get(key) for key in ("DataType", "Datatype", "Format/Datatype", "Format"))
    return next((found for word in words if word and (found := _type_in(str(word)))), "")


def _type_in(words: str) -> str:
    found = _TYPE.search(words)
    return _WORDS[found[1].lower()] if found else ""
