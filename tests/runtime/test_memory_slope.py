"""The memory alarm: a leak is found, noise and a warm-up are not."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.memory_slope import MEBIBYTE, SAMPLES, MemorySlope, resident_memory, slope_of

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
