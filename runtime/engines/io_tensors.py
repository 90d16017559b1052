"""What goes into and comes out of a TensorRT engine: names, types and sizes, read from the engine itself.

Every tensor's first axis is the batch. Knows nothing of memory or running.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from runtime.engines.engine import TensorSpec
from runtime.errors import BadModel

# TensorRT's DataType by name; the library's own `nptype` needs names that newer numpy versions lack
_DTYPES = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "INT32": "i4", "INT64": "i8", "BOOL": "?", "UINT8": "u1"}


@dataclass(frozen=True)
class IoTensors:
    """An engine's inputs and outputs, and the smallest and largest batch its first profile takes.

    Their first size is None even in an engine of one fixed batch: padding and splitting make every batch run.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    smallest: int
    largest: int

    @property
    def all(self) -> tuple[TensorSpec, ...]:
        """Inputs, then outputs."""
        return self.inputs + self.outputs


def read_io_tensors(library: ModuleType, engine: Any, name: str) -> IoTensors:
    """Read an engine's io-tensors. Raises BadModel for what this runtime cannot feed: `name` is the engine's file."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == library.TensorIOMode.INPUT]
    profiles = [engine.get_tensor_profile_shape(n, 0) for n in inputs]
    outputs = [n for n in names if n not in inputs]
    if not inputs or not outputs:
        raise BadModel(f"expected an engine with inputs and outputs, found {', '.join(names) or 'none'} in {name}")
    smallest = max(shapes[0][0] for shapes in profiles)
    largest = min(shapes[2][0] for shapes in profiles)
    specs = {n: _spec(library, engine, n, smallest, largest, name) for n in names}
    return IoTensors(tuple(specs[n] for n in inputs), tuple(specs[n] for n in outputs), smallest, largest)


def _spec(library: ModuleType, engine: Any, tensor: str, smallest: int, largest: int, name: str) -> TensorSpec:
    shape = tuple(engine.get_tensor_shape(tensor))
    kind = engine.get_tensor_dtype(tensor).name
    if engine.get_tensor_location(tensor) != library.TensorLocation.DEVICE or kind not in _DTYPES:
        raise BadModel(f"expected tensors of {', '.join(_DTYPES)} on the GPU, found {tensor} in {name} of {kind} or on "
                       "the CPU; build the engine from a graph that mien exported")
    batched = len(shape) > 0 and (shape[0] == -1 or shape[0] == smallest == largest)
    if not batched or -1 in shape[1:]:
        raise BadModel(f"expected the batch, and nothing else, to vary along the first axis, found {tensor} of "
                       f"{shape} in {name}; build the engine from a graph that mien exported")
    return TensorSpec(tensor, np.dtype(_DTYPES[kind]), (None, *shape[1:]))


def padded_batch(rows: int, smallest: int, largest: int) -> int:
    """Return the batch that `rows` run as: the next power of two, within the profile.

    So an engine for 1–64 meets seven shapes, and each has its execution context and CUDA graph.
    """
    return min(max(1 << (rows - 1).bit_length(), smallest), largest)
