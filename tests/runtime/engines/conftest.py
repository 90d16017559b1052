"""Benches of doubles to open engines on; see engine_bench.py."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from cuda_double import CudaDouble

from runtime.engines import tensorrt_engine
from runtime.engines.cuda_thread import CudaThread

if TYPE_CHECKING:
    from engine_bench import Bench, MakeBench


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBench]:
    """Benches of any kind; at the end nothing may have been misused."""
    from engine_bench import Bench  # not at the top: it needs the real parser, which not every machine has
    from tensorrt_double import Behaviour, tensorrt_double

    made: list[Bench] = []

    def make(rtx: bool = True, **kind: bool) -> Bench:
        cuda, behaviour = CudaDouble(**kind), Behaviour(rtx=rtx)
        library = tensorrt_double(cuda, behaviour)
        monkeypatch.setattr(tensorrt_engine, "load_compiler", lambda target: library)
        made.append(Bench(cuda, behaviour, library, CudaThread(cuda)))
        return made[-1]

    yield make
    gc.collect()
    for bench in made:
        bench.thread.close()
    assert [m for bench in made for m in bench.cuda.misuses] == []


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """One bench, of TensorRT-RTX on a desktop's GPU through cuda-python."""
    return make_bench()
