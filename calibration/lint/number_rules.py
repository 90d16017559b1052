"""Rules on stored numbers: weights and scales that are damaged, not finite, too small, or too large for half.

Knows nothing of where Q and DQ stand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from calibration.lint.finding import Places, Rule
from calibration.lint.view import Scope, View, is_external, values_of

TYPES = "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/accuracy-considerations.html"
POSITIVE = "https://github.com/onnx/onnx-tensorrt/issues/764"
LARGEST_HALF = 65504  # IEEE 754 binary16
SCALED = ("QuantizeLinear", "DequantizeLinear")


def scales(view: View) -> Iterator[tuple[Scope, NodeProto, np.ndarray]]:
    """Yield every Q and DQ whose scale is a constant, with its values as float32."""
    for scope, node in view.nodes(*SCALED):
        values = scope.values(node.input[1])
        if values is not None and values.size and values.dtype.kind in "fV":  # V: bfloat16 and its like
            yield scope, node, values


def _floats(view: View) -> Iterator[tuple[str, np.ndarray]]:
    for scope in view.scopes:
        for name in scope.weights:
            values = scope.values(name)
            if values is not None and values.dtype.kind in "fV" and values.size:
                yield name, values.astype(np.float32) if values.dtype.kind == "V" else values


def _damaged(view: View) -> Places:
    for name, tensor in view.tensors():
        if not is_external(tensor) and values_of(tensor) is None:
            yield name, f"bytes that do not fill {list(tensor.dims)} of its type"


def _not_finite(view: View) -> Places:
    for name, values in _floats(view):
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            yield name, f"{wrong} of {values.size:,} values are NaN or infinite"


def _half_overflow(view: View) -> Places:
    for name, values in _floats(view):
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0))
        if largest > LARGEST_HALF:
            yield name, f"a value of {largest:.3g}; half holds {LARGEST_HALF}"


def _scale_not_positive(view: View) -> Places:
    for _, node, values in scales(view):
        wrong = values[~(values > 0)]
        if wrong.size:
            yield node.name, f"{wrong.size} of {values.size} scales are not positive, such as {float(wrong.flat[0]):g}"


def _scale_denormal(view: View) -> Places:
    for _, node, values in scales(view):
        kind = values.dtype if values.dtype.kind == "f" else np.float32  # bfloat16 has float32's exponents
        tiniest = float(np.finfo(kind).tiny)
        small = values[(values > 0) & (values < tiniest)]
        if small.size:
            yield node.name, f"a scale of {float(small.min()):.3g}; {values.dtype} is denormal below {tiniest:.3g}"


RULES = (
    Rule("weights-damaged", "error", "every stored tensor has the bytes its shape asks for", "export it again",
         "https://onnx.ai/onnx/repo-docs/IR.html", "rejected", _damaged),
    Rule("weights-not-finite", "error", "every weight is a number: TensorRT compiles NaN and infinity without a word",
         "train or export again", TYPES, "accepted", _not_finite),
    Rule("scale-not-positive", "error", "every scale is above zero",
         "calibrate again; a channel that is always zero takes scale 1", POSITIVE, "rejected", _scale_not_positive),
    Rule("scale-denormal", "warning", "no scale is denormal in its own type: dividing by it overflows",
         "give an all but dead channel the type's smallest normal number as its scale", TYPES, "accepted",
         _scale_denormal),
    Rule("half-overflow", "warning", "no weight passes 65504, the largest half: FP16 makes it infinite",
         "scale the weight down, or keep its node in float", TYPES, "accepted", _half_overflow),
)
