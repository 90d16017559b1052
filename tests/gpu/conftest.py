"""What tests on a real GPU share: each NVIDIA compiler that is here with its GPU, or the reason why there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.card import Model, load_model
from runtime.engines.cache import EngineCache
from runtime.engines.cuda_api import DeviceFacts, device_facts
from runtime.engines.prepared_engine import PreparedEngine, prepare_engine
from runtime.engines.tensorrt_api import load_compiler
from runtime.errors import Unavailable


@pytest.fixture(scope="session")
def gpu() -> DeviceFacts:
    """The GPU that is here."""
    try:
        return device_facts()
    except Unavailable as error:
        pytest.skip(f"needs a GPU: {str(error).partition(';')[0]}")


@pytest.fixture(scope="session", params=["tensorrt", "tensorrt-rtx"])
def target(request: pytest.FixtureRequest, gpu: DeviceFacts) -> str:
    """A target whose library is here."""
    try:
        load_compiler(request.param)
    except Unavailable as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture(scope="session")
def model() -> Model:
    """The model to run: the one that ships, or the directory that MIEN_MODEL names."""
    return load_model(Path(os.environ.get("MIEN_MODEL", "mien-light")))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """A cache of this session's own, so that every graph is compiled once."""
    return EngineCache(tmp_path_factory.mktemp("cache") / "engines")


@pytest.fixture(scope="session", params=["fp32", "fp16", "int8-gpu"])
def graph(request: pytest.FixtureRequest) -> str:
    """Each of the graphs that ship for GPUs."""
    return str(request.param)


@pytest.fixture
def prepared(model: Model, graph: str, target: str, cache: EngineCache) -> PreparedEngine:
    """The graph's engine, compiled here."""
    return prepare_engine(model, graph, target, cache)
