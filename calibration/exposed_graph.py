"""A float32 graph opened so that it also returns what lies inside it, and faces in checked batches.

Knows nothing of what is done with the tensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from runtime.errors import BadInput


def open_with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnxruntime.InferenceSession:
    """Open a session that also returns the named float32 tensors; the model stays as it is.

    Raises BadInput for a graph that takes anything but one uint8 tensor.
    """
    weights = {w.name for w in model.graph.initializer}  # older graphs list them among the inputs
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.UINT8:
        kinds = ", ".join(f"{i.name} {TensorProto.DataType.Name(i.type.tensor_type.elem_type)}" for i in inputs)
        raise BadInput(f"expected a graph whose one input is uint8 pixels, found {kinds or 'none'}; let a Cast and the "
                       "normalization be its first nodes")
    present = {o.name for o in model.graph.output}
    more = onnx.ModelProto()
    more.graph.output.extend(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
                             for tensor in tensors if tensor not in present)
    # protobuf merges messages that stand one behind the other (https://protobuf.dev/programming-guides/encoding), so
    # the graph is not copied to add outputs; from a file ONNX Runtime needs a model's size less memory than from bytes
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.write(more.SerializeToString())
        file.flush()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its idle threads would keep cores
        return onnxruntime.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])


def batches_of(faces: Iterable[np.ndarray], shape: tuple[int | str, ...], batch_size: int) -> Iterator[np.ndarray]:
    """Stack uint8 faces of `shape` (C, H, W) into (≤ batch_size, C, H, W). Raises BadInput for another face.

    A side that is no number is free: the first face's counts for all.
    """
    batch = []
    for number, face in enumerate(faces):
        if number == 0 and face.ndim == len(shape):
            shape = tuple(side if isinstance(side, int) else own for side, own in zip(shape, face.shape))
        if face.dtype != np.uint8 or face.shape != shape:
            raise BadInput(f"expected calibration faces of {shape} uint8, found {face.shape} {face.dtype} as image "
                           f"{number}; prepare the faces as the model's card says")
        batch.append(face)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
