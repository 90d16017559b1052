"""Health: the state follows from the troubles, and every change is told once."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runtime.supervision.health import STATES, Change, Health


def told() -> tuple[Health, list[Change]]:
    changes: list[Change] = []
    return Health(changes.append), changes


def test_a_stream_starts_runs_and_stops() -> None:
    health, changes = told()
    health.started()
    health.stopping()
    assert [(c.before, c.state) for c in changes] == [("starting", "running"), ("running", "stopping")]


def test_a_trouble_degrades_until_it_ends() -> None:
    health, changes = told()
    health.started()
    health.report("events", "No space left on device")
    health.report("events", "No space left on device")
    health.report("mqtt")
    health.report("events")
    assert [c.state for c in changes] == ["running", "degraded", "running"]
    assert changes[1].troubles == {"events": "No space left on device"}


def test_a_camera_that_is_down_outweighs_the_rest() -> None:
    health, changes = told()
    health.started()
    health.report("mqtt", "refused")
    health.report("camera", "no frame for 3 s")
    assert (health.state, health.is_ready) == ("camera-down", False)
    health.report("camera")
    assert (health.state, health.is_ready) == ("degraded", True)
    assert [c.state for c in changes] == ["running", "degraded", "camera-down", "degraded"]


def test_a_second_trouble_is_told_though_the_state_stays() -> None:
    health, changes = told()
    health.started()
    health.report("mqtt", "refused")
    health.report("events", "full")
    assert [sorted(c.troubles) for c in changes] == [[], ["mqtt"], ["events", "mqtt"]]


def test_troubles_of_the_start_show_once_it_runs() -> None:
    health, changes = told()
    health.report("metrics", "port taken")
    assert health.state == "starting"
    health.started()
    assert changes[-1] == Change("starting", "degraded", {"metrics": "port taken"})


@given(st.lists(st.tuples(st.sampled_from(["camera", "events", "mqtt"]), st.sampled_from(["", "x"]))))
def test_the_state_depends_on_what_stands_not_on_the_way_there(reports: list[tuple[str, str]]) -> None:
    health, changes = told()
    health.started()
    for name, trouble in reports:
        health.report(name, trouble)
    standing = {name for name, trouble in dict(reports).items() if trouble}
    assert health.state == ("camera-down" if "camera" in standing else "degraded" if standing else "running")
    assert all(c.state in STATES for c in changes)
    assert all((a.state, a.troubles) != (b.state, b.troubles) for a, b in pairwise(changes))
