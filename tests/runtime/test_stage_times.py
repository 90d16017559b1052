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


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now


def test_recent_times_show_within_minutes_that_a_device_has_slowed_after_months() -> None:
    clock = Clock()
    times = StageTimes(clock)
    for _ in range(100_000):
        times.add("infer", 0.01)
    times.add("detect", 0.02)
    assert times.recent() == times.report()  # all of it is recent
    for _ in range(24 * 60):  # a day, asked once a minute
        clock.now += 60
        times.add("infer", 0.01)
        times.recent()
    for _ in range(6):
        clock.now += 60
        for _ in range(30):
            times.add("infer", 0.05)
        late = times.recent()
    assert times.report()["infer"]["p95"] == pytest.approx(10, rel=0.03)
    assert late["infer"]["p50"] == pytest.approx(50, rel=0.03) and list(late) == ["infer"]
    assert len(times._copies) <= 7


def test_recent_times_end_when_nothing_runs_any_more() -> None:
    clock = Clock()
    times = StageTimes(clock)
    for _ in range(10):
        times.add("infer", 0.01)
        times.recent()
        clock.now += 1
    for _ in range(400):
        clock.now += 1
        late = times.recent()
    assert late == {} and times.report()["infer"]["p50"] == pytest.approx(10, rel=0.03)


def test_asked_seldom_recent_times_are_those_since_it_was_asked() -> None:
    clock = Clock()
    times = StageTimes(clock)
    for seconds in (0.01, 0.02, 0.04):
        clock.now += 3600
        times.add("infer", seconds)
        late = times.recent()
        assert late["infer"]["p50"] == pytest.approx(seconds * 1e3, rel=0.03)
