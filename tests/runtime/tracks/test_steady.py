"""Steady labels: seconds, not frames; no change before the dwell; nothing unread changes anything."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.expressions import UNSURE, Expression, read_logits
from runtime.tracks.steady import SteadyLabels, SteadyRules

LABELS = ("angry", "happy", "sad")
probabilities = st.lists(st.floats(0.01, 1), min_size=3, max_size=3)
readings = st.lists(st.one_of(st.none(), probabilities), min_size=1, max_size=60)


def reading(*values: float) -> Expression:
    row = np.array(values, np.float32) / sum(values)
    return Expression(LABELS[int(row.argmax())], float(row.max()), row)


HAPPY, SAD = reading(0.05, 0.9, 0.05), reading(0.05, 0.05, 0.9)


def run(rules: SteadyRules, seen: list[Expression | None], fps: float = 25.0) -> list[Expression | None]:
    """Read one face's readings and return what stood after each."""
    labels, stood = SteadyLabels(LABELS, rules), []
    for number, one in enumerate(seen):
        assert labels.due([7]) == [0]
        labels.read([7], [one], number / fps)
        stood += labels.steady([7])
    return stood


@settings(max_examples=50, deadline=None)
@given(st.floats(5, 120), st.floats(0.1, 3))
def test_the_time_constant_does_not_depend_on_the_frame_rate(fps: float, constant: float) -> None:
    rules = SteadyRules(seconds=constant)
    frames = round(fps * constant) + 1  # one time constant of sad faces after a happy one
    last = run(rules, [HAPPY] + [SAD] * frames, fps)[-1]
    assert last is not None
    happy = 0.05 + 0.85 * math.exp(-frames / fps / constant)
    assert last.probabilities[1] == pytest.approx(happy, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(readings, st.floats(0, 2), st.floats(0, 1), st.floats(0, 0.5), st.floats(5, 60))
def test_a_label_stays_for_its_dwell(seen, dwell: float, constant: float, margin: float, fps: float) -> None:
    rules = SteadyRules(seconds=constant, dwell=dwell, margin=margin)
    stood = run(rules, [reading(*one) if one else None for one in seen], fps)
    labels = [(n / fps, e.label) for n, e in enumerate(stood) if e is not None]
    changes = [labels[0][0]] if labels else []
    changes += [now[0] for before, now in pairwise(labels) if before[1] != now[1]]
    assert all(later - earlier >= dwell - 1e-9 for earlier, later in pairwise(changes))


@settings(max_examples=100, deadline=None)
@given(readings)
def test_a_steady_expression_is_a_distribution(seen) -> None:
    for one in run(SteadyRules(), [reading(*s) if s else None for s in seen]):
        if one is not None:
            assert one.probabilities.sum() == pytest.approx(1, abs=1e-5)
            assert one.probabilities.dtype == np.float32 and one.label in (*LABELS, UNSURE)


def test_readings_that_alternate_do_not_flicker() -> None:
    stood = run(SteadyRules(), [HAPPY, SAD] * 100)
    assert {e.label for e in stood if e} == {"happy"}


def test_a_lead_below_the_margin_changes_nothing_and_one_above_it_does() -> None:
    first = reading(0.1, 0.5, 0.4)
    for second, label in ((reading(0.1, 0.42, 0.48), "happy"), (reading(0.1, 0.39, 0.51), "sad")):
        last = run(SteadyRules(seconds=0, dwell=0, margin=0.1), [first, second])[-1]
        assert last is not None and last.label == label


def test_unsure_is_left_at_the_threshold_and_entered_a_margin_below_it() -> None:
    rules = SteadyRules(threshold=0.5, seconds=0, dwell=0, margin=0.1)
    seen = [reading(0.27, 0.45, 0.28), reading(0.24, 0.51, 0.25), reading(0.27, 0.45, 0.28), reading(0.31, 0.38, 0.31)]
    assert [e.label for e in run(rules, seen) if e] == [UNSURE, "happy", "happy", UNSURE]


def test_the_first_reading_stands_at_once() -> None:
    first = run(SteadyRules(), [SAD])[0]
    assert first is not None and (first.label, first.probability) == ("sad", pytest.approx(0.9))


def test_a_reading_that_is_not_finite_leaves_the_label_alone() -> None:
    broken = read_logits(np.array([[np.nan, 0, 0]], np.float32), LABELS)
    stood = run(SteadyRules(), [HAPPY, *broken * 50, HAPPY])
    assert {e.label for e in stood if e} == {"happy"} and len(stood) == 52
    assert run(SteadyRules(), broken)[0] is None


def test_time_that_stands_or_goes_back_weighs_nothing() -> None:
    labels = SteadyLabels(LABELS)
    for seconds in (5.0, 5.0, 4.0):
        labels.due([1])
        labels.read([1], [HAPPY if seconds == 5.0 else SAD], seconds)
    found = labels.steady([1])[0]
    assert found is not None and found.probability == pytest.approx(0.9)


def test_a_face_is_read_every_so_many_frames_and_its_answer_stands_in_between() -> None:
    labels, read = SteadyLabels(LABELS, SteadyRules(read_every=3)), []
    for frame in range(7):
        due = labels.due([1])
        labels.read([1] * len(due), [reading(1, 1 + frame, 1)] * len(due), frame / 25)
        read.append(bool(due))
        assert labels.raw([1])[0] is not None and labels.steady([1])[0] is not None
    assert read == [True, False, False, True, False, False, True]


def test_a_newcomer_is_read_at_once() -> None:
    labels = SteadyLabels(LABELS, SteadyRules(read_every=10))
    labels.due([1])
    labels.read([1], [HAPPY], 0)
    assert labels.due([1, 2]) == [1]


def test_what_is_known_of_a_track_goes_with_it() -> None:
    labels = SteadyLabels(LABELS)
    for track in range(1000):
        labels.due([track])
        labels.read([track], [HAPPY], track)
        labels.keep({track})
    assert len(labels._states) == len(labels._last) == 1


@pytest.mark.parametrize("wrong", [{"threshold": 1.1}, {"margin": -0.1}, {"seconds": float("nan")}, {"dwell": 61.0},
                                   {"read_every": 0}])
def test_rules_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SteadyRules(**wrong)  # type: ignore[arg-type]
