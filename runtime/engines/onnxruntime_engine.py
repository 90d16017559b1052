"""ONNX Runtime on the CPU: the embedded default, and the stand-in for every NVIDIA target.

Knows nothing of what the arrays mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from runtime.engines.engine import TensorSpec
from runtime.errors import BadModel, MienError

_DTYPES = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8", "tensor(uint8)": "u1",
           "tensor(int8)": "i1", "tensor(int32)": "i4", "tensor(int64)": "i8", "tensor(bool)": "?"}


class OnnxRuntimeEngine:
    """An ONNX graph in an ONNX Runtime CPU session."""

    target = "cpu"

    def __init__(self, content: bytes, name: str, precision: str, threads: int = 0, fuse_qdq: bool = True):
        """Open verified ONNX bytes; `threads` 0 lets ONNX Runtime take every core. Raises BadModel.

        fuse_qdq: False computes Q/DQ as they are written. The GPU form needs it: ONNX Runtime 1.31 quantizes biases
        with the product of two half-precision scales, which underflows (85 % of labels agreed instead of 99.6 %).
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: people's text is ours
        # an idle kiosk must not burn its cores waiting for the next frame
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not fuse_qdq:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            first_line = str(error).splitlines()[0]
            raise BadModel(f"expected a graph that ONNX Runtime loads, found {name}: {first_line}") from error
        self.precision = precision
        self.inputs = tuple(_spec(i) for i in self._session.get_inputs())
        self.outputs = tuple(_spec(o) for o in self._session.get_outputs())
        self._output_names = [o.name for o in self.outputs]

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. Raises MienError when closed or when ONNX Runtime fails."""
        if self._session is None:
            raise MienError("expected an open engine, found a closed one")
        try:
            results = self._session.run(self._output_names, dict(arrays))
        except Exception as error:
            raise MienError(f"expected ONNX Runtime to run the graph, found: {str(error).splitlines()[0]}") from error
        return dict(zip(self._output_names, results))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def _spec(value: onnxruntime.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, np.dtype(_DTYPES.get(value.type, "V")), shape)
