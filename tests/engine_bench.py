"""A GPU, its CUDA thread and a TensorRT, all doubles, with an engine of the tiny network to open on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from cuda_double import CudaDouble
from tensorrt_double import Behaviour, double_engine
from tiny_model import TinyNetwork

from runtime.engines.cuda_thread import CudaThread
from runtime.engines.tensorrt_engine import TensorRTEngine

TINY = TinyNetwork.random()
ONNX = TINY.graph().SerializeToString()
TINY_ENGINE = double_engine(ONNX)
BATCHES = (1, 4, 64)


@dataclass
class Bench:
    """`open` opens an engine, the tiny one unless told."""

    cuda: CudaDouble
    behaviour: Behaviour
    library: ModuleType
    thread: CudaThread

    def open(self, content: bytes = TINY_ENGINE, batches: tuple[int, int, int] = BATCHES,
             **named: object) -> TensorRTEngine:
        return TensorRTEngine(content, "tiny.engine", "fp32", "tensorrt-rtx", batches, thread=self.thread,
                              **named)  # type: ignore[arg-type]


MakeBench = Callable[..., Bench]


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 1, 48, 48) uint8 of noise."""
    return np.random.default_rng((count, seed)).integers(0, 256, (count, 1, 48, 48), dtype=np.uint8)


def same(engine: TensorRTEngine, images: np.ndarray) -> bool:
    """Does the engine give the tiny network's logits as numpy computes them?"""
    return np.allclose(engine.run({"faces": images})["logits"], TINY.logits(images), atol=1e-4)
