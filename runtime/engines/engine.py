"""What an engine is: named arrays in, named arrays out. An engine knows nothing of faces or expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; None stands for a size that may vary."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]


class Engine(Protocol):
    """A network that is ready to run on one target in one precision.

    compiled_sha256: hash of what a compiler made of the graph; '' where a library reads the graph itself.
    """

    target: str
    precision: str
    compiled_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: every input by name, C-contiguous and of its spec's dtype; returns every output by name."""

    def close(self) -> None:
        """Free what the engine holds; it cannot run afterwards."""
