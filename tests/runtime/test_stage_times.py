"""Percentiles in constant memory."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.stage_times import BINS, StageTimes


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_percentile_is_right_to_within_a_bin(share: float) -> None:
    times, seconds = StageTimes(), np.random.default_rng(0).lognormal(-4, 1, 5000)
    for value in seconds:
        times.add("infer", float(value))
    assert times.milliseconds("infer", share) == pytest.approx(np.quantile(seconds, share) * 1e3, rel=0.04)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_an_absurd_duration_is_counted_at_the_edge(seconds: float) -> None:
    times = StageTimes()
    times.add("infer", seconds)
    assert np.isfinite(times.milliseconds("infer", 0.5))


def test_memory_does_not_grow_with_the_count() -> None:
    times = StageTimes()
    for value in range(10_000):
        times.add("infer", value * 1e-4)
    assert len(times._counts["infer"]) == BINS


def test_stages_are_reported_in_the_order_they_ran() -> None:
    times = StageTimes()
    for stage in ("capture", "detect", "capture", "infer"):
        with times.timed(stage):
            pass
    assert list(times.report()) == ["capture", "detect", "infer"]
    assert set(times.report()["detect"]) == {"p50", "p95", "p99"}


def test_nothing_timed_is_an_empty_report() -> None:
    assert StageTimes().report() == {}
