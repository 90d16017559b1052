"""One streaming pass over a graph: what every tensor to be quantized holds, in constant memory.

A tensor's histogram has a fixed number of bins; when a larger value comes, pairs of bins merge and the range doubles,
so memory does not depend on the number of images. Knows nothing of how a range is then chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnxruntime

from runtime.errors import BadInput, MienError

BINS = 4096  # twice the 2,048 of NVIDIA's calibrator (Migacz, GTC 2017), so that a doubling keeps its resolution


class Histogram:
    """Counts of |x| in equal bins over [0, limit), zeros apart; `limit` doubles as needed."""

    def __init__(self, bins: int = BINS):
        self.counts = np.zeros(bins, dtype=np.int64)
        self.limit = 0.0  # 0 until a value other than zero was seen
        self.zeros = 0
        self.largest = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count one array of finite floats, any shape."""
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        top = float(magnitudes.max(initial=0.0))
        self.largest = max(self.largest, top)
        if top == 0.0:
            self.zeros += magnitudes.size
            return
        bins = len(self.counts)
        if self.limit == 0.0:
            self.limit = max(top * 1.25, 1e-30)  # room for the next batches; below 1e-30, bins / limit would overflow
        while top >= self.limit:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(bins // 2, dtype=np.int64)])
            self.limit *= 2
        nonzero = magnitudes[magnitudes > 0]
        self.zeros += magnitudes.size - nonzero.size
        index = (nonzero * np.float32(bins / self.limit)).astype(np.int32)
        self.counts += np.bincount(np.minimum(index, bins - 1), minlength=bins)

    def percentile(self, share: float) -> float:
        """Return the magnitude below which `share` (0–1) of all values lie: a bin's upper edge, at most the largest."""
        total = int(self.counts.sum()) + self.zeros
        if not total or self.limit == 0.0:
            return 0.0
        below = self.zeros + np.cumsum(self.counts)
        index = int(np.searchsorted(below, share * total, side="left"))
        return min(self.largest, (index + 1) * self.limit / len(self.counts))


def observe(model: onnx.ModelProto, tensors: Sequence[str], faces: Iterable[np.ndarray], batch_size: int = 32,
            ) -> dict[str, Histogram]:
    """Run uint8 faces (C, H, W) through a float32 graph and return a histogram for each named tensor.

    Raises BadInput for an empty or wrongly shaped set, MienError naming tensor and image where a value is not finite.
    """
    session = _open_with_outputs(model, tensors)
    name = session.get_inputs()[0].name
    shape = tuple(session.get_inputs()[0].shape[1:])
    histograms = {tensor: Histogram() for tensor in tensors}
    seen, batch = 0, []
    for face in faces:
        if face.dtype != np.uint8 or face.shape != shape:
            raise BadInput(f"expected calibration faces of {shape} uint8, found {face.shape} {face.dtype}")
        batch.append(face)
        if len(batch) == batch_size:
            _add_batch(session, name, np.stack(batch), histograms, seen)
            seen, batch = seen + len(batch), []
    if batch:
        _add_batch(session, name, np.stack(batch), histograms, seen)
    if not seen and not batch:
        raise BadInput("expected at least one calibration face, found none; check --images")
    return histograms


def _open_with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnxruntime.InferenceSession:
    """Open a session that also returns the named tensors."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {o.name for o in exposed.graph.output}
    for tensor in tensors:
        if tensor not in present:
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])


def _add_batch(session: onnxruntime.InferenceSession, name: str, batch: np.ndarray, histograms: dict[str, Histogram],
               seen: int) -> None:
    tensors = list(histograms)
    for tensor, values in zip(tensors, session.run(tensors, {name: batch})):
        finite = np.isfinite(values).reshape(len(batch), -1).all(axis=1)
        if not finite.all():
            image = seen + int(np.flatnonzero(~finite)[0])
            raise MienError(f"expected finite activations, found NaN or infinity in {tensor} for image {image}; "
                            "check the weights and that image")
        histograms[tensor].add(values)
