"""The kernels that TensorRT-RTX compiles while it runs, kept beside their engine so that the next start finds them.

Kernels are executable code like the engine, so the file bears this device's seal. Losing it costs time only: what is
missing, refused or not ours to write is done without. Knows nothing of how kernels are made.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.durable import write_bytes
from runtime.engines.engine_file import seal, unseal
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput

MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class KernelFile:
    """Where one engine's kernels lie, this device's secret, and the engine's SHA-256 they belong to."""

    path: Path
    secret: bytes = field(repr=False)
    engine_sha256: str

    def load(self) -> bytes | None:
        """Return the kernels, None where there are none that this device sealed for this engine."""
        with suppress(OSError, BadInput):
            found = unseal(read_regular_file(self.path, MAX_BYTES)[0], self.secret, str(self.path))
            if found.sidecar == self._sidecar():
                return found.engine
        return None

    def save(self, kernels: bytes) -> None:
        """Keep the kernels, whole or not at all; a service that may only read goes without."""
        with suppress(OSError, BadInput):
            write_bytes(self.path, seal(kernels, self._sidecar(), self.secret))

    def _sidecar(self) -> dict[str, str]:
        return {"kernels_of": self.engine_sha256}
