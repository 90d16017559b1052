"""A tiny model whose card names a drift baseline, faces for it, and a monitor that is fed with them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiny_model import TinyNetwork, write_tiny_model

from runtime.card import FileEntry, Model, load_model, save_card
from runtime.drift.baseline import FILE, Baseline, EngineBaseline, hashes_of
from runtime.drift.bins import Bins
from runtime.drift.config import DriftConfig
from runtime.drift.monitor import DriftMonitor
from runtime.drift.quantities import look_at
from runtime.expressions import Expression, read_logits

SIDE = 48
EAGER = DriftConfig(seconds_between=0.0, budget=1.0)
BOX = np.array([[0.0, 0.0, 80.0, 100.0]])


def random_faces(count: int, seed: int = 0, brightness: float = 128.0) -> np.ndarray:
    """Return (N, 1, 48, 48) uint8 noise about a face's own brightness."""
    generator = np.random.default_rng(seed)
    own = generator.normal(brightness, 20, (count, 1, 1, 1))
    return np.clip(generator.normal(own, 30, (count, 1, SIDE, SIDE)), 0, 255).astype(np.uint8)


def watched_model(directory: Path, world: bool = True) -> Model:
    """Write a model whose baseline says that its engine is FP32 itself, and how random faces look."""
    model = load_model(write_tiny_model(directory))
    looks = [look_at(face) for face in random_faces(600, seed=9)]
    bins = {name: Bins.of(np.array([look[name] for look in looks])) for name in looks[0]} if world else {}
    same = EngineBaseline(model.card.graphs["fp32"].sha256, Bins((-9.0,), (600, 0)), 1.0, 0.0, 0.0)
    baseline = Baseline(*hashes_of(model), faces=600, faces_from={"name": "noise"}, world=bins, engines={"fp32": same})
    (directory / FILE).write_text(baseline.to_json())
    save_card(directory, dataclasses.replace(model.card, drift=FileEntry.of(directory / FILE)))
    return load_model(directory)


def answers_to(faces: np.ndarray, model: Model, off: float = 0.0) -> list[Expression | None]:
    """Return what the tiny network says, its weights changed by a share."""
    network = TinyNetwork.random()
    weights = network.weights * (1 + off * np.random.default_rng(5).standard_normal(network.weights.shape))
    logits = TinyNetwork(weights.astype(np.float32), network.bias).logits(faces)
    return read_logits(logits, model.card.labels, model.card.temperature)


def feed(monitor: DriftMonitor, model: Model, faces: np.ndarray, off: float = 0.0, begin: int = 0) -> None:
    """Give one face after another as other people's, each once the one before was read."""
    for number, (face, answer) in enumerate(zip(faces, answers_to(faces, model, off)), begin):
        before = monitor.status()["samples"]
        while monitor.status()["samples"] == before:  # the budget may ask for a pause
            assert not monitor.status()["why"], monitor.status()["why"]
            monitor.offer(face[None], BOX, [answer], [number], 0.0)
            time.sleep(0.001)
            number += 100_000


def wait_until(true: Callable[[], object]) -> None:
    """Wait for something to become true, half a minute at most."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)
