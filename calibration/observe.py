"""One streaming pass over a graph: what every tensor to be quantized holds, in constant memory.

Counting runs beside the next batch, in one thread: ONNX Runtime holds no Python lock while it multiplies. After each
batch stands a whole state, so that a pass may stop anywhere and go on later. Knows nothing of how a range is chosen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx

from calibration.exposed_graph import batches_of, open_with_outputs
from runtime.errors import BadInput, MienError
from runtime.histogram import BINS, Histogram

__all__ = ["BATCH", "BINS", "Histogram", "Observed", "observe", "watch"]

BATCH = 16  # two batches of activations live at once: 80 MB of VGG16 at 48×48


@dataclass(frozen=True)
class Observed:
    """What a pass has seen so far: a histogram a tensor, and of how many images; never changed once made."""

    histograms: dict[str, Histogram]
    images: int = 0


def observe(model: onnx.ModelProto, tensors: Sequence[str], faces: Iterable[np.ndarray], batch_size: int = BATCH,
            ) -> dict[str, Histogram]:
    """Run uint8 faces (C, H, W) through a float32 graph and return a histogram for each named tensor.

    Raises BadInput for an empty or wrongly shaped set, MienError naming tensor and image where a value is not finite.
    """
    return deque(watch(model, tensors, faces, batch_size), maxlen=1).pop().histograms


def watch(model: onnx.ModelProto, tensors: Sequence[str], faces: Iterable[np.ndarray], batch_size: int = BATCH,
          start: Observed | None = None) -> Iterator[Observed]:
    """Yield the state after every batch of `observe`; `start` goes on from one, with the faces that come after it."""
    session = open_with_outputs(model, tensors)
    name, shape = session.get_inputs()[0].name, tuple(session.get_inputs()[0].shape[1:])
    state = start or Observed({tensor: Histogram() for tensor in tensors})
    counting: Future[Observed] | None = None
    with ThreadPoolExecutor(1) as thread:
        for batch in batches_of(faces, shape, batch_size):
            values = session.run(list(tensors), {name: batch})
            if counting:
                state = counting.result()
                yield state
            counting = thread.submit(_counted, state, tensors, values, len(batch))
        if counting:
            state = counting.result()
            yield state
    if not state.images:
        raise BadInput("expected at least one calibration face, found none; check --images")


def _counted(before: Observed, tensors: Sequence[str], values: Sequence[np.ndarray], images: int) -> Observed:
    """Return the state with one batch more; `before` stays whole, whatever happens here."""
    histograms = {tensor: histogram.copy() for tensor, histogram in before.histograms.items()}
    for tensor, array in zip(tensors, values):
        try:
            histograms[tensor].add(array)
        except ValueError as error:
            broken = ~np.isfinite(array).reshape(images, -1).all(axis=1)
            image = before.images + int(np.flatnonzero(broken)[0])
            raise MienError(f"expected finite activations, found NaN or infinity in {tensor} for image {image}; "
                            "check the weights and that image") from error
    return Observed(histograms, before.images + images)
