"""One quantity over time: learning, alarming, calming down."""

from __future__ import annotations

import numpy as np

from runtime.drift.bins import Bins
from runtime.drift.watch import FEW, LEARN, WINDOW, Watch, WatchRules

RULES = WatchRules(1.25, 1e6)
NORMAL = Bins.of(np.random.default_rng(0).normal(size=3000))


def feed(watch: Watch, values: np.ndarray) -> list[bool]:
    return [watch.add(value) for value in values.tolist()]


def normal(count: int, mean: float = 0.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, size=count)


def test_unchanged_values_never_alarm() -> None:
    watch = Watch(RULES, NORMAL)
    assert not any(feed(watch, normal(20_000))) and watch.alarms == 0


def test_a_shift_alarms_once_and_stands_until_the_values_are_as_before() -> None:
    watch = Watch(RULES, NORMAL)
    assert sum(feed(watch, normal(2000, mean=1.0))) == 1
    assert watch.alarming and watch.alarms > 1 and watch.stability > 0.25
    feed(watch, normal(100))
    assert watch.alarming
    feed(watch, normal(WINDOW, seed=2))
    assert not watch.alarming


def test_an_alarm_of_a_sudden_shift_stands_while_it_lasts() -> None:
    """Among the last 500 values most are of before it, for a while: they tell of no calm."""
    for seed in range(8):
        watch = Watch(RULES, NORMAL)
        feed(watch, normal(600, seed=seed))
        began = feed(watch, normal(2000, mean=2.0, seed=100 + seed))
        assert sum(began) == 1 and watch.alarming and watch.stood == 2000 - 1 - began.index(True)
        feed(watch, normal(2 * WINDOW, seed=200 + seed))
        assert not watch.alarming and watch.stood == 0


def test_a_missing_baseline_is_learned_from_the_first_values() -> None:
    watch = Watch(RULES)
    feed(watch, normal(LEARN - 1))
    assert watch.learning and watch.progress == watch.stability == 0
    watch.add(0.0)
    assert not watch.learning
    assert not any(feed(watch, normal(5000, seed=3)))
    assert any(feed(watch, normal(500, mean=2.0)))


def test_what_is_better_when_small_alarms_upwards_only() -> None:
    down, up = (Watch(WatchRules(1.25, 1e6, above_only=True), NORMAL) for _ in range(2))
    assert not any(feed(down, normal(5000, mean=-2.0)))
    assert any(feed(up, normal(500, mean=2.0)))


def test_an_upward_alarm_ends_too_when_the_values_become_better_than_they_were() -> None:
    watch = Watch(WatchRules(1.25, 1e6, above_only=True), NORMAL)
    feed(watch, normal(2000, mean=1.0))
    assert watch.alarming and watch.stability > 0.25
    feed(watch, normal(2 * WINDOW, mean=-1.0))
    assert not watch.alarming and watch.stability < 0.01


def test_a_few_values_have_no_distance() -> None:
    watch = Watch(RULES, NORMAL)
    feed(watch, normal(FEW - 1, mean=5.0))
    assert watch.stability == 0
    watch.add(5.0)
    assert watch.stability > 1
