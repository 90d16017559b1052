"""The detector against its promise: rare false alarms whatever the shares are below their limits, quick true ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.drift.detector import Detector

LIMITS = [0.15] * 10


def mean_delay(shares: np.ndarray, between: float, runs: int, most: int) -> float:
    """Return the mean number of values to an alarm; those that never alarm count as `most`."""
    generator, found = np.random.default_rng(0), []
    for _ in range(runs):
        detector = Detector(LIMITS, between)
        places = generator.choice(len(shares), most, p=shares).tolist()
        found.append(next((n for n, place in enumerate(places, 1) if detector.add(place)), most))
    return float(np.mean(found))


def test_false_alarms_are_as_rare_as_promised_where_shares_stand_at_their_limits() -> None:
    assert mean_delay(np.array([0.15] * 6 + [0.1] + [0.0] * 3), between=50, runs=150, most=600) >= 50


def test_shares_of_the_baseline_hardly_ever_alarm() -> None:
    assert mean_delay(np.full(10, 0.1), between=1e6, runs=10, most=5000) == 5000


def test_shares_beyond_their_limits_alarm_where_the_promise_does_not_hold() -> None:
    beyond = np.array([0.5] + [0.5 / 9] * 9)
    assert mean_delay(beyond, between=1e6, runs=30, most=600) < 60


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=300), st.lists(st.floats(0, 0.15), min_size=10, max_size=10))
def test_the_mean_of_the_sum_grows_by_at_most_one_a_value(past: list[int], shares: list[float]) -> None:
    after = [Detector(LIMITS, 1e12) for _ in range(10)]
    for detector in after:
        for place in past:
            detector.add(place)
    before = after[0].evidence
    for place, detector in enumerate(after):
        detector.add(place)
    # what is missing of 1 in the shares lies where no evidence comes from
    mean = sum(share * detector.evidence for share, detector in zip(shares, after)) / max(1.0, sum(shares))
    assert mean <= before + 1 + 1e-9 * (1 + before)


def test_it_finds_a_drift_after_a_long_quiet_time() -> None:
    detector, generator = Detector(LIMITS, 1e7), np.random.default_rng(0)
    assert not any(detector.add(place) for place in generator.integers(0, 10, 60_000).tolist())
    assert math.isfinite(detector.evidence)
    assert any(detector.add(place) for place in [3] * 40)


def test_after_an_alarm_evidence_is_gathered_anew() -> None:
    detector = Detector(LIMITS, 1e3)
    while not detector.add(0):
        pass
    assert detector.evidence == detector.progress == 0.0
    assert not detector.add(0)


def test_progress_tells_the_way_to_an_alarm() -> None:
    detector, seen = Detector(LIMITS, 1e6), [0.0]
    while not detector.add(0):
        seen.append(detector.progress)
    assert seen == sorted(seen) and 0.8 < seen[-1] < 1


def test_a_value_never_met_before_is_no_evidence_and_many_are() -> None:
    detector = Detector([1.0, 0.005], 1e7)
    for _ in range(5000):
        assert not detector.add(0)
    before = detector.evidence
    detector.add(1)
    assert detector.evidence <= before + 1
    assert any(detector.add(1) for _ in range(20))


@pytest.mark.parametrize(("limits", "between"), [
    ([], 10), ([0.0, 1.0], 10), ([1.5], 10), ([1.0], 0.5), ([0.4, 0.4], 9)])
def test_senseless_promises_are_refused(limits: list[float], between: float) -> None:
    with pytest.raises(ValueError, match="expected limits"):
        Detector(limits, between)
