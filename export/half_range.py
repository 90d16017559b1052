"""Faces → what a half-precision graph's tensors hold at most, and which faces it has no finite answer for.

A pass may stop after any batch and go on later: what two passes saw adds up. Knows nothing of labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from export.half_arithmetic import LARGEST, half_arithmetic
from runtime.engines.face_batches import BATCH
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine


@dataclass(frozen=True)
class HalfRange:
    """Over `faces` faces: how many had logits that are not finite, the largest magnitude met, and in which tensor.

    `largest` is infinity where a tensor overflowed, whatever became of the logits.
    """

    faces: int = 0
    non_finite: int = 0
    largest: float = 0.0
    tensor: str = ""

    def with_more(self, other: HalfRange) -> HalfRange:
        """Return both passes as one."""
        widest = self if self.largest >= other.largest else other
        return HalfRange(self.faces + other.faces, self.non_finite + other.non_finite, widest.largest, widest.tensor)


class HalfWatcher:
    """A half-precision graph in half's arithmetic on this CPU, whose every tensor is watched."""

    def __init__(self, model: onnx.ModelProto):
        # Q and DQ as they are written: fused, an INT8 graph's remainder would not be rounded at all
        self._engine = OnnxRuntimeEngine(half_arithmetic(model).SerializeToString(), "half", "fp16", fuse_qdq=False)

    def run(self, faces: np.ndarray) -> tuple[np.ndarray, HalfRange]:
        """Return (N, classes) float32 logits of (N, C, H, W) uint8 faces, and the range they showed."""
        seen, logits = HalfRange(), []
        for first in range(0, len(faces), BATCH):
            batch = np.ascontiguousarray(faces[first : first + BATCH])
            arrays = self._engine.run({self._engine.inputs[0].name: batch})
            answer = next(values for name, values in arrays.items() if not name.startswith(LARGEST))
            largest = {n.removeprefix(LARGEST): float(v) for n, v in arrays.items() if n.startswith(LARGEST)}
            # NaN compares with nothing: it stands for an overflow
            tensor = max(largest, key=lambda name: np.inf if np.isnan(largest[name]) else largest[name])
            bad = int((~np.isfinite(answer).all(axis=1)).sum())
            top = np.inf if np.isnan(largest[tensor]) else largest[tensor]
            seen = seen.with_more(HalfRange(len(batch), bad, top, tensor))
            logits.append(answer)
        return np.concatenate(logits), seen
