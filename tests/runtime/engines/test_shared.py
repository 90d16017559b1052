"""One engine for all who ask for the same, closed with the last of them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tiny_model import TinyNetwork, write_tiny_card

from runtime.card import load_model
from runtime.engines import shared
from runtime.engines.engine import Engine
from runtime.engines.shared import SharedEngines
from runtime.reading import CountedEngine
from runtime.supervision.fallback import FailureCount


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Every engine that is really opened, by the order of opening; `closed` is set on those that are closed."""
    found: list[Engine] = []
    real = shared.open_engine

    def open_engine(*arguments: object, **more: object) -> Engine:
        engine = real(*arguments, **more)  # type: ignore[arg-type]
        closing = engine.close

        def close() -> None:
            engine.closed = True  # type: ignore[attr-defined]
            closing()
        engine.close = close  # type: ignore[method-assign]
        engine.closed = False  # type: ignore[attr-defined]
        found.append(engine)
        return engine

    monkeypatch.setattr(shared, "open_engine", open_engine)
    return found


def closed(engines: list[Engine]) -> list[bool]:
    return [engine.closed for engine in engines]  # type: ignore[attr-defined]


def test_the_same_is_opened_once_and_closed_with_its_last_user(tiny_model: Path, opened: list[Engine]) -> None:
    engines = SharedEngines()
    old = engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    new = engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)  # a reload reads the card again
    assert len(opened) == 1
    faces = {spec.name: np.zeros([n or 1 for n in spec.shape], spec.dtype) for spec in new.inputs}
    old.close()
    old.close()
    assert closed(opened) == [False] and new.run(faces).keys() == {spec.name for spec in new.outputs}
    new.close()
    assert closed(opened) == [True]
    engines.open(load_model(tiny_model), "fp32", "cpu", 1, None).close()
    assert closed(opened) == [True, True]


def test_whoever_holds_an_engine_knows_what_was_compiled(tiny_model: Path, opened: list[Engine]) -> None:
    """Drift's learned baselines are of those bytes; lost on the way, another build would be compared with them."""
    engines = SharedEngines()
    engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    opened[0].compiled_sha256 = "ab12"
    held = engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    counted = CountedEngine(held, cast(FailureCount, None))
    assert held.compiled_sha256 == counted.compiled_sha256 == "ab12"


@pytest.mark.parametrize("other", [("fp32", "auto", 1, None), ("fp32", "cpu", 2, None), ("fp32", "cpu", 1, Path("c"))])
def test_what_differs_is_opened_beside(
    tiny_model: Path, opened: list[Engine], other: tuple[str, str, int, Path | None]
) -> None:
    engines = SharedEngines()
    engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    engines.open(load_model(tiny_model), *other)
    assert len(opened) == 2


def test_a_model_whose_files_changed_is_another(tiny_model: Path, opened: list[Engine]) -> None:
    engines = SharedEngines()
    engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    (tiny_model / "fp32.onnx").write_bytes(TinyNetwork.random(seed=5).graph().SerializeToString())
    write_tiny_card(tiny_model)
    engines.open(load_model(tiny_model), "fp32", "cpu", 1, None)
    assert len(opened) == 2
