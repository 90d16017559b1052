"""fp32.onnx in ONNX Runtime on one thread: a face's logits, what its activations were, and how many lay out of range.

The histograms are those of `ranges.hist`: counts by magnitude, from which no face can be seen. Knows nothing of engines
or of time; one thread at a time uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from runtime.card import Model
from runtime.drift.exposed import expose
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import MienError
from runtime.histogram import Histogram
from runtime.ranges_file import ActivationRanges


@dataclass(frozen=True)
class Answer:
    """FP32's (classes,) logits, and the share (0–1) of activations beyond the calibrated range; None uncalibrated."""

    logits: np.ndarray
    beyond_range: float | None


class Reference:
    """An open session that returns the tensors that calibration chose ranges for."""

    def __init__(self, model: Model):
        """Open one. Raises BadModel, Unavailable."""
        self._card = model.card
        calibration = model.card.calibration
        exact = calibration.get("exact_pixels")  # INT8 holds every pixel: none is beyond
        self._limits: dict[str, float] = {name: math.inf if name == exact else threshold
                                          for name, threshold in calibration.get("thresholds", {}).items()}
        content = expose(model.read_graph("fp32"), self._limits)
        self._engine = OnnxRuntimeEngine(content, str(model.directory / "fp32.onnx"), "fp32", threads=1)
        self.histograms = {tensor: Histogram() for tensor in self._limits}
        self.faces = 0

    @property
    def graph_sha256(self) -> str:
        """The hash of fp32.onnx."""
        return self._card.graphs["fp32"].sha256

    @property
    def ranges(self) -> ActivationRanges | None:
        """What was seen so far, as `ranges.hist` keeps it; None where nothing was, or the model is uncalibrated."""
        if not self.faces or not self.histograms:
            return None
        return ActivationRanges(self.graph_sha256, self.faces, self.histograms)

    def go_on_from(self, before: ActivationRanges) -> bool:
        """Add what was seen before to what will be; False, and nothing added, where that is of another graph."""
        if (before.graph_sha256 != self.graph_sha256
                or set(before.histograms) != set(self.histograms)):
            return False
        for name, histogram in before.histograms.items():
            self.histograms[name].merge(histogram)
        self.faces += before.images
        return True

    def run(self, crop: np.ndarray) -> Answer:
        """Read one (C, H, W) uint8 crop. Raises MienError where the answer or an activation is not finite."""
        found = self._engine.run({self._card.input_name: crop[None]})
        logits = found[self._card.output_name][0]
        tensors = {name: found[name] for name in self.histograms}
        if not np.isfinite(logits).all() or not all(np.isfinite(values.sum()) for values in tensors.values()):
            raise MienError("expected finite FP32 activations, found NaN or infinity; export the model again")
        for name, values in tensors.items():
            self.histograms[name].add(values)
        self.faces += 1
        return Answer(logits, self._share_beyond(tensors))

    def close(self) -> None:
        """Drop the session; the histograms stay."""
        self._engine.close()

    def _share_beyond(self, tensors: dict[str, np.ndarray]) -> float | None:
        if not tensors:
            return None
        beyond = 0
        for name, values in tensors.items():
            limit = self._limits[name]
            if max(float(values.max()), -float(values.min())) > limit:  # seldom: most faces lie inside
                beyond += int(np.count_nonzero(np.abs(values) > limit))
        return beyond / sum(values.size for values in tensors.values())
