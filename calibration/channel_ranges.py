"""How large each channel of a tensor gets on calibration faces, in one streaming pass and constant memory.

One number a channel: where a tensor's scale serves all its channels, this tells which of them it serves badly. Knows
nothing of what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx

from calibration.exposed_graph import batches_of, open_with_outputs
from runtime.errors import BadInput, MienError

BATCH = 16


def channel_ranges(model: onnx.ModelProto, tensors: Sequence[str], faces: Iterable[np.ndarray],
                   ) -> dict[str, np.ndarray]:
    """Return the largest magnitude of every channel (axis 1) of each tensor, (channels,) float32.

    faces: uint8 (C, H, W). Raises BadInput for no face or a wrong shape, MienError naming a tensor that is not finite.
    """
    session = open_with_outputs(model, tensors)
    name, shape = session.get_inputs()[0].name, tuple(session.get_inputs()[0].shape[1:])
    found: dict[str, np.ndarray] = {}
    seen = 0
    for batch in batches_of(faces, shape, BATCH):
        for tensor, values in zip(tensors, session.run(list(tensors), {name: batch})):
            largest = np.abs(values).max(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
            if not np.isfinite(largest).all():  # NumPy's max hands a NaN on
                raise MienError(f"expected finite activations, found NaN or infinity in {tensor} among the images "
                                f"{seen}–{seen + len(batch) - 1}; check the weights and those images")
            found[tensor] = np.maximum(found[tensor], largest) if tensor in found else largest
        seen += len(batch)
    if not seen:
        raise BadInput("expected at least one calibration face, found none; check --images")
    return found
