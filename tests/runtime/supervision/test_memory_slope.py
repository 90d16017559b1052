"""The memory alarm: a leak is found, for one are taken neither steps nor teeth nor noise nor a warm-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.supervision.memory_slope import MEBIBYTE, SAMPLES, MemorySlope, resident_memory, slope_of

HOUR = 3600.0


def alarms(megabytes: np.ndarray, limit: float = 50.0) -> int:
    """Run an hour's window over one value a minute; return after how many minutes it alarmed, -1 never."""
    now = [0.0]
    values = iter(megabytes)
    memory = MemorySlope(limit, HOUR, lambda: int(next(values) * MEBIBYTE), lambda: now[0])
    for minute in range(len(megabytes)):
        if memory.sample():
            return minute
        now[0] += 60.0
    return -1


def test_a_leak_is_found_once_the_window_is_full() -> None:
    assert alarms(300 + np.arange(600) * 2.0) == SAMPLES - 1  # 120 MiB an hour


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_leak(seed: int) -> None:
    assert alarms(2000 + np.random.default_rng(seed).normal(0, 100, 1000)) == -1


def test_a_leak_is_found_under_noise() -> None:
    assert 0 < alarms(300 + np.random.default_rng(0).normal(0, 5, 600) + np.arange(600) * 2.0) < 2 * SAMPLES


def test_a_warm_up_is_forgotten() -> None:
    assert alarms(np.concatenate([np.linspace(100, 300, 5), np.full(600, 300.0)])) == -1


def test_growth_below_the_limit_is_allowed() -> None:
    assert alarms(300 + np.arange(600) * 0.5) == -1  # 30 MiB an hour


few = settings(max_examples=25, deadline=None)
MINUTES = np.arange(4 * SAMPLES)
seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, deviation: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, len(MINUTES))


@few
@given(at=st.integers(0, len(MINUTES)), height=st.floats(10, 4000), minutes=st.integers(1, 15), seed=seeds)
def test_a_step_is_no_leak(at: int, height: float, minutes: int, seed: int) -> None:
    # the first 8K picture, another model; it may take some minutes
    assert alarms(300 + height * np.clip((MINUTES - at) / minutes, 0, 1) + noise(seed, 1)) == -1


@few
@given(places=st.lists(st.integers(0, 3), min_size=2, max_size=2), height=st.floats(50, 1000))
def test_two_steps_within_a_window_are_no_leak(places: list[int], height: float) -> None:
    first, second = 60 + 10 * places[0], 85 + 10 * places[1]
    assert alarms(300 + height * (np.heaviside(MINUTES - first, 1) + np.heaviside(MINUTES - second, 1))) == -1


@few
@given(slope=st.floats(100, 2000), deviation=st.floats(0, 10), seed=seeds)
def test_a_leak_of_twice_the_limit_is_found_within_two_windows(slope: float, deviation: float, seed: int) -> None:
    assert SAMPLES - 1 <= alarms(300 + MINUTES * slope / 60 + noise(seed, deviation)) < 2 * SAMPLES


@few
@given(slope=st.floats(100, 2000), every=st.integers(1, 15), phase=st.integers(0, 14))
def test_a_leak_in_small_steps_is_found_too(slope: float, every: int, phase: int) -> None:
    # an allocator asks the kernel for memory in blocks
    assert 0 < alarms(300 + (MINUTES + phase) // every * every * slope / 60) < 3 * SAMPLES


@few
@given(height=st.floats(0, 2000), period=st.integers(2, SAMPLES // 3), phase=st.integers(0, 60), seed=seeds)
def test_teeth_are_no_leak(height: float, period: int, phase: int, seed: int) -> None:
    # a cache that fills and is emptied, a collector that comes now and then
    assert alarms(300 + height * ((MINUTES + phase) % period) / period + noise(seed, 1)) == -1


def test_a_limit_of_zero_measures_nothing() -> None:
    assert alarms(300 + np.arange(600) * 100.0, limit=0) == -1


def test_the_slope_is_numpys() -> None:
    samples = np.random.default_rng(3).normal(0, 1, (40, 2)).cumsum(axis=0) * [100, 3]
    (slope, _), covariance = np.polyfit(samples[:, 0] / 3600, samples[:, 1], 1, cov=True)
    assert slope_of(samples) == pytest.approx((slope, float(np.sqrt(covariance[0, 0]))))


def test_the_message_says_how_much() -> None:
    memory = MemorySlope(50, HOUR, iter(range(0, 10**12, 2 * MEBIBYTE)).__next__, iter(range(0, 10**6, 60)).__next__)
    told = [memory.sample() for _ in range(SAMPLES)]
    assert told[:-1] == [""] * (SAMPLES - 1)
    assert told[-1].startswith("memory grows by 120 ± 0 MiB an hour, 50 are allowed")


def test_resident_memory_is_the_kernels() -> None:
    assert 10 * MEBIBYTE < resident_memory() < 10**12
