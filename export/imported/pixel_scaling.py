"""uint8 pixels → the floats that a network was trained on, as the first nodes of its graph, and the same in numpy.

Knows nothing of crops or of the order of colours: those are the card's, and `runtime/preprocess.py` carries them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import BadInput
from train.networks.normalize import IMAGENET_MEAN, IMAGENET_STD

# What exports usually expect, by the name that --normalize takes, as torchvision's Normalize has it: mean and standard
# deviation of pixels scaled to 0–1. `none` expects 0–255 as they are
KNOWN: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "unit": ([0.0], [1.0]), "signed": ([0.5], [0.5]), "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "none": ([0.0], [1 / 255])}


@dataclass(frozen=True)
class PixelScaling:
    """(pixels / 255 - mean) / std; one value each, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) <= 0:
            raise BadInput(f"expected finite means and standard deviations above 0, found {self.mean} and {self.std}")
        if max(map(abs, self.mean)) > 1 or len(self.mean) != len(self.std):
            raise BadInput(f"expected as many means as standard deviations, of pixels scaled to 0–1, found {self.mean} "
                           f"and {self.std}; divide those of 0–255 by 255")

    def require_channels(self, channels: int) -> None:
        """Raise BadInput unless there is one value, or one a channel of the network."""
        if len(self.mean) not in (1, channels):
            raise BadInput(f"expected one mean and standard deviation, or {channels} of them for a network of "
                           f"{channels} channel{'s' * (channels > 1)}, found {len(self.mean)}")

    def floats(self, faces: np.ndarray, channels: int) -> np.ndarray:
        """Return (N, channels, H, W) float32 of (N, C, H, W) uint8, as PyTorch's transforms compute them.

        A single channel is repeated where the network has more.
        """
        mean, std = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        scaled = (faces.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(np.broadcast_to(scaled, (len(faces), channels, *faces.shape[2:])))

    def nodes(self, source: str, target: str, channels: int, repeats: bool) -> tuple[list[onnx.NodeProto],
                                                                                     list[onnx.TensorProto]]:
        """Return nodes and constants from the uint8 tensor `source` to the float32 tensor `target`.

        repeats: `source` has one channel and `target` `channels`; multiplying by as many factors repeats it.
        """
        factors = [1 / (255 * s) for s in self.std]
        shifts = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        if repeats and len(factors) == 1:
            factors *= channels
        steps = [("Mul", "pixels_scale", factors)] if repeats or set(factors) != {1.0} else []
        steps += [("Add", "pixels_shift", shifts)] if any(shifts) else []
        tensors = [*("pixels_float", "pixels_scaled")[: len(steps)], target]
        nodes = [helper.make_node("Cast", [source], tensors[:1], name="pixels/float", to=TensorProto.FLOAT)]
        constants = []
        for (kind, name, values), read, written in zip(steps, tensors, tensors[1:]):
            nodes.append(helper.make_node(kind, [read, name], [written], name=f"pixels/{kind.lower()}"))
            constants.append(numpy_helper.from_array(np.array(values, np.float32).reshape(1, -1, 1, 1), name))
        return nodes, constants


def scaling_of(name: str | None, mean: Sequence[float] | None, std: Sequence[float] | None) -> PixelScaling | None:
    """Return what --normalize, or --mean and --std, ask for; None where nothing is said. Raises BadInput."""
    if (mean is None) != (std is None) or (name and mean):
        raise BadInput("expected --normalize, or --mean together with --std, found "
                       f"{'both' if name else 'one of the two'}; leave one out, or give both numbers")
    if name:
        mean, std = KNOWN[name]
    return None if mean is None or std is None else PixelScaling(tuple(mean), tuple(std))
