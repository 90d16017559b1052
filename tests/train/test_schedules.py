"""Schedules: each rises and falls as its name says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.recipe import Recipe
from train.schedules import learning_rate

BASE = Recipe(name="x", network="y", learning_rate=1.0)
KINDS: dict[str, dict[str, Any]] = {
    "one-cycle": {}, "cosine": {}, "constant": {}, "step": {"step_at": (0.5, 0.75)},
}


def rates(kind: str, steps: int, warm_up: float) -> list[float]:
    recipe = dataclasses.replace(BASE, schedule=kind, warm_up=warm_up, **KINDS[kind])
    return [learning_rate(step, steps, recipe) for step in range(steps)]


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 400), st.floats(0, 1))
def test_a_rate_stays_above_zero_and_within_its_peak(kind: str, steps: int, warm_up: float) -> None:
    found = rates(kind, steps, warm_up)
    assert min(found) > 0 and max(found) <= 1 + 1e-9


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(2, 400), st.floats(0, 1))
def test_a_rate_rises_over_the_warm_up_and_never_after_it(kind: str, steps: int, warm_up: float) -> None:
    found, rising = rates(kind, steps, warm_up), [s for s in range(steps) if s < warm_up * steps]
    assert found[: len(rising)] == sorted(found[: len(rising)])
    assert found[len(rising):] == sorted(found[len(rising):], reverse=True)


def test_one_cycle_starts_at_a_twenty_fifth_and_ends_at_almost_nothing() -> None:
    found = rates("one-cycle", 1000, 0.2)
    assert found[0] == pytest.approx(0.04) and found[200] == pytest.approx(1.0) and found[-1] < 0.0011


def test_cosine_is_half_way_down_in_the_middle_of_its_fall() -> None:
    assert rates("cosine", 1000, 0.2)[600] == pytest.approx(0.5, abs=0.002)


def test_a_step_multiplies_at_each_share() -> None:
    found = rates("step", 8, 0.0)
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_constant_rate_is_reached_after_the_warm_up_and_kept() -> None:
    assert rates("constant", 8, 0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
