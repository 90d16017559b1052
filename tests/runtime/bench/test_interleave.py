"""Engines timed side by side: whose turn it is, what is counted, and what is said of a GPU's share."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from runtime.bench import Entrant, bench
from runtime.card import load_model


class Sleeper:
    """An engine that takes a known time, notes its turns, and may measure a device."""

    def __init__(self, name: str, seconds: float, turns: list[str], device: float | None = None):
        self.name, self.seconds, self.turns = name, seconds, turns
        if device is not None:
            self.last_device_seconds = device

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take the time; the faces are noise in the card's shape."""
        assert arrays["faces"].dtype == np.uint8 and arrays["faces"].shape[1:] == (1, 48, 48)
        self.turns.append(self.name)
        time.sleep(self.seconds)
        return {}


def entrant(tiny_model: Path, engine: Sleeper) -> Entrant:
    return Entrant(engine.name, load_model(tiny_model), engine, 1000)  # type: ignore[arg-type]


def test_every_engine_has_its_turn_in_every_round(tiny_model: Path) -> None:
    turns: list[str] = []
    entrants = [entrant(tiny_model, Sleeper(name, 0, turns)) for name in "abc"]
    bench(entrants, 2, rounds=4, warm_up_seconds=0)
    assert "".join(turns) == "abc" * (5 + 4)


def test_rounds_before_the_clocks_have_risen_are_not_counted(tiny_model: Path) -> None:
    turns: list[str] = []
    row, = bench([entrant(tiny_model, Sleeper("a", 0.002, turns))], 1, rounds=3, warm_up_seconds=0.1)
    assert len(row["samples_ms"]) == 3
    assert len(turns) > 5 + 3 + 10


def test_times_are_a_batchs_and_ratios_the_firsts(tiny_model: Path) -> None:
    slow, fast = (entrant(tiny_model, Sleeper(name, seconds, [])) for name, seconds in (("s", 0.02), ("f", 0.005)))
    first, second = bench([slow, fast], 8, rounds=9, warm_up_seconds=0)
    assert first["ratio"] == 1.0 and 0.2 < second["ratio"] < 0.6
    assert second["ratio_interval"][0] <= second["ratio"] <= second["ratio_interval"][1]
    assert first["milliseconds"]["p50"] >= 20 and first["milliseconds"]["p99"] >= first["milliseconds"]["p50"]
    assert first["faces_per_second"] == pytest.approx(8 * 1000 / np.mean(first["samples_ms"]), rel=1e-3)


def test_the_gpus_share_and_the_hosts_are_told_apart(tiny_model: Path) -> None:
    row, = bench([entrant(tiny_model, Sleeper("g", 0.01, [], device=0.006))], 1, rounds=5, warm_up_seconds=0)
    assert row["device_milliseconds"]["p50"] == 6.0
    assert row["host_milliseconds"]["p50"] == pytest.approx(row["milliseconds"]["p50"] - 6.0, abs=0.01)


def test_an_engine_that_measures_no_device_claims_no_share(tiny_model: Path) -> None:
    row, = bench([entrant(tiny_model, Sleeper("c", 0, []))], 1, rounds=3, warm_up_seconds=0)
    assert "device_milliseconds" not in row and "host_milliseconds" not in row


class Burner(Sleeper):
    """An engine that computes instead of sleeping."""

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute for the time."""
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            pass
        return {}


def burn(core: int) -> None:
    os.sched_setaffinity(0, {core})
    while True:
        pass


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="Linux does not count waiting here")
def test_a_busy_machine_shows_in_the_record(tiny_model: Path) -> None:
    cores = os.sched_getaffinity(0)
    core = min(cores)
    rivals = [multiprocessing.get_context("spawn").Process(target=burn, args=(core,), daemon=True) for _ in range(2)]
    os.sched_setaffinity(0, {core})
    try:
        for rival in rivals:
            rival.start()
        time.sleep(0.5)
        row, = bench([entrant(tiny_model, Burner("b", 0.01, []))], 1, rounds=60, warm_up_seconds=0)
    finally:
        os.sched_setaffinity(0, cores)
        for rival in rivals:
            rival.kill()
            rival.join()
    assert row["waited_for_core"] > 0.2
