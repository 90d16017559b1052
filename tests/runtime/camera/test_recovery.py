"""The ladder: cheap rungs first, commands far apart, waits that grow, jitter and stop growing."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.camera.recovery import CALM, COMMANDS_APART, SETTLED, Ladder, Recovery

BOTH = Recovery(daemon_command="d", device_command="h")


def climb(ladder: Ladder, steps: int, answers: bool = False, now: float = 0.0) -> list[str]:
    rungs = []
    for _ in range(steps):
        step = ladder.next(now, answers)
        rungs.append(step.rung)
        now += step.wait + 2
    return rungs


def test_the_order_is_reopen_child_daemon_device() -> None:
    expected = ["reopen", "restart-child", "restart-child", "restart-daemon"]
    assert climb(Ladder(BOTH), 4, answers=True) == expected
    assert climb(Ladder(Recovery(device_command="h")), 3) == ["restart-child", "restart-child", "device-hook"]


def test_a_child_that_does_not_answer_is_not_asked_to_reopen() -> None:
    assert climb(Ladder(BOTH), 1) == ["restart-child"]


def test_without_commands_the_child_is_restarted_for_ever() -> None:
    assert set(climb(Ladder(Recovery()), 50)) == {"restart-child"}


def test_commands_are_far_apart_and_each_gets_its_turn() -> None:
    ladder, now, taken = Ladder(BOTH), 0.0, []
    for _ in range(1000):
        step = ladder.next(now, False)
        if step.rung != "restart-child":
            taken.append((step.rung, now + step.wait))
        now += step.wait + 2
    assert [rung for rung, _ in taken[:4]] == ["restart-daemon", "device-hook"] * 2
    assert min(b - a for (_, a), (_, b) in itertools.pairwise(taken)) >= COMMANDS_APART


@given(st.integers(0, 2**32), st.floats(0.3, 60))
def test_waits_grow_jitter_and_stop_at_the_longest(seed: int, longest: float) -> None:
    ladder = Ladder(Recovery(longest_wait=longest), random.Random(seed))
    waits = [ladder.next(0.0, False).wait for _ in range(40)]
    assert waits[0] == 0
    assert all(0 < wait <= longest for wait in waits[1:])
    assert min(waits[-10:]) >= longest / 2
    assert len(set(waits[-10:])) == 10


def test_frames_for_a_while_make_the_next_try_immediate_and_for_long_the_ladder_new() -> None:
    ladder = Ladder(BOTH)
    climb(ladder, 4)
    ladder.good(100.0)
    assert ladder.next(100.0, False).attempt == 5, "one frame is no recovery"
    ladder.good(101.0)
    ladder.good(101.0 + SETTLED)
    step = ladder.next(103.0, True)
    assert (step.attempt, step.wait, step.rung) == (1, 0.0, "reopen")
    ladder.good(200.0)
    ladder.good(200.0 + CALM)
    assert climb(ladder, 2, now=300.0) == ["restart-child", "restart-child"]


@pytest.mark.parametrize("wrong", [
    {"stall_seconds": 0.0}, {"stall_seconds": float("nan")}, {"start_seconds": 1e6}, {"longest_wait": -1.0},
    {"frozen_seconds": -1.0}, {"daemon_command": "systemctl 'restart"}])
def test_what_no_camera_can_want_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="^expected .*, found "):
        Recovery(**wrong)
