"""Counts of expressions over a minute, an hour and a day, against a plain list of what happened."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dashboard.shares import LABELS, WINDOWS, Shares

HAPPENINGS = st.lists(st.tuples(st.sampled_from(["happy", "sad", "neutral"]), st.floats(-90_000, 90_000),
                                st.integers(1, 9)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(HAPPENINGS, st.floats(0, 90_000))
def test_each_bin_holds_what_happened_in_it(happened: list[tuple[str, float, int]], later: float) -> None:
    shares = Shares()
    for label, when, count in happened:
        shares.add(label, when, count)
    now = max([when for _, when, _ in happened], default=0.0) + later
    for name, report in shares.report(now).items():
        bins, seconds = WINDOWS[name]
        newest = math.floor(now / seconds)
        expected: Counter[tuple[str, int]] = Counter()
        highest = None
        for label, when, count in happened:
            at = math.floor(when / seconds)
            highest = at if highest is None else max(highest, at)
            if at > highest - bins and at > newest - bins:  # too late is not counted
                expected[label, bins - 1 - (newest - at)] += count
        for label, counts in report["labels"].items():
            assert counts == [expected[label, at] for at in range(bins)]


def test_what_is_older_than_a_window_leaves_it() -> None:
    shares = Shares()
    shares.add("happy", 0.5)
    assert sum(shares.report(59.0)["minute"]["labels"]["happy"]) == 1
    assert sum(shares.report(60.0)["minute"]["labels"]["happy"]) == 0
    assert sum(shares.report(60.0)["hour"]["labels"]["happy"]) == 1
    assert sum(shares.report(86_400.0)["day"]["labels"]["happy"]) == 0


def test_memory_stays_the_same_however_long_it_runs_and_whatever_is_said() -> None:
    shares = Shares()
    for number in range(1000):
        shares.add(f"label {number}", number * 1000.0)
    report = shares.report(1e6)
    assert {len(window["labels"]) for window in report.values()} == {LABELS}
    assert {len(counts) for counts in report["day"]["labels"].values()} == {WINDOWS["day"][0]}
