"""What an engine's bytes depend on, as one key: another graph, compiler, GPU, CUDA or profile is another engine.

Knows nothing of where engines are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from runtime.engines.compile import CompileRequest

# What bounds or hastens a build, or only looks at its engine. A field that is not named here counts, so that a new one
# can at worst cost a rebuild.
BOUNDS = {"timeout_seconds", "memory_bytes", "timing_cache", "inspect"}


class Device(Protocol):
    """The GPU that is here: `NVIDIA Orin`, `sm87`, and the CUDA version its driver brings."""

    @property
    def name(self) -> str: ...
    @property
    def sm(self) -> str: ...
    @property
    def cuda(self) -> str: ...


@dataclass(frozen=True)
class EngineKey:
    """Everything that decides what the compiler writes; equal keys mean engines of equal worth."""

    graph_sha256: str
    compiler_version: str
    gpu: str
    sm: str
    cuda: str
    request: Mapping[str, Any]

    @classmethod
    def of(cls, graph: bytes, request: CompileRequest, compiler_version: str, device: Device) -> EngineKey:
        """Make the key of ONNX bytes, compiled as requested by this compiler on this device."""
        wanted = {name: value for name, value in asdict(request).items() if name not in BOUNDS}
        return cls(hashlib.sha256(graph).hexdigest(), compiler_version, device.name, device.sm, device.cuda, wanted)

    def as_json(self) -> dict[str, Any]:
        """Return the key as it reads back from JSON."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    def digest(self) -> str:
        """Return the key's SHA-256, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.request['target']} {self.compiler_version} on {self.gpu} ({self.sm}, CUDA {self.cuda})"
