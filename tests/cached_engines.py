"""Engines for the cache's tests: bytes that no compiler wrote, under keys of GPUs that are not here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from runtime.engines.compile import Compiled, CompileRequest
from runtime.engines.engine_key import EngineKey
from runtime.engines.tensorrt_builder import Built

COMMAND = "mien prepare m"
ENGINE = bytes(range(256)) * 40


@dataclasses.dataclass(frozen=True)
class SomeDevice:
    """What `device_facts` would say of a GPU."""

    name: str = "Orin"
    sm: str = "sm87"
    cuda: str = "12.6"
    integrated: bool = True


def some_key(graph: bytes = b"graph", version: str = "10.3.0", device: SomeDevice | None = None,
             **request: Any) -> EngineKey:
    """Return a key; whatever is given differs from the usual one."""
    wanted: dict[str, Any] = {"target": "tensorrt", "gpu": None, "input_name": "faces", "face_shape": (1, 48, 48)}
    return EngineKey.of(graph, CompileRequest(**{**wanted, **request}), version, device or SomeDevice())


def builder(engine: bytes = ENGINE) -> Callable[[], Compiled]:
    """Return what "compiles" an engine at once."""
    built = Built(engine, "10.3.0", 3, {"faces": "uint8"}, {"logits": "float"}, ("said once",))
    return lambda: Compiled(built, 1.5, 99)


def no_build() -> Compiled:
    """Stand where nothing may be compiled."""
    raise AssertionError("this engine was in the cache")
