"""From the switch to the commit, with a clock of the test's."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

import mien
from runtime.errors import MienError
from runtime.slots import watch
from runtime.slots.asked_health import Answer, judge
from runtime.slots.restart import restart_service
from runtime.slots.slots import Slots
from runtime.slots.watch import LONGEST_PAUSE, Decision, Rules, begin, count_start, look, restart_switched

Bring = Callable[..., str]
HEALTHY, BAD, UNKNOWN = Answer("healthy", "running"), Answer("bad", "nobody answers"), Answer("unknown", "camera-down")
RULES = Rules(healthy_seconds=60, bad_seconds=45, starts=3)


class Kiosk:
    """A slot on trial: its answers, its clock, and how often somebody restarted it."""

    def __init__(self, slots: Slots):
        self.slots, self.state, self.now, self.restarts = slots, slots.prefix / "state", 1000.0, 0
        begin(slots, slots.current(), self.state)

    def start(self) -> None:
        count_start(self.slots, self.state)

    def restart(self) -> None:
        self.restarts += 1
        self.start()

    def look(self, answer: Answer, seconds: float = 30.0, rules: Rules | None = RULES) -> Decision:
        self.now += seconds
        return look(self.slots, self.state, rules, lambda slot: answer, self.restart, lambda: self.now)


@pytest.fixture
def kiosk(slots: Slots, bring: Bring) -> Kiosk:
    bring("1.0")
    bring("1.1", commit=False)
    return Kiosk(slots)


def test_enough_healthy_seconds_commit(kiosk: Kiosk) -> None:
    kiosk.start()
    assert [kiosk.look(HEALTHY).verdict for _ in range(4)] == ["waiting", "waiting", "committed", "nothing"]


def test_one_look_is_no_duration(kiosk: Kiosk) -> None:
    kiosk.start()
    kiosk.look(BAD)
    assert kiosk.look(HEALTHY, 119).verdict == "waiting"  # healthy now; who knows for how long


def test_a_long_pause_gives_no_healthy_time(kiosk: Kiosk) -> None:
    kiosk.start()
    kiosk.look(HEALTHY)
    assert kiosk.look(HEALTHY, LONGEST_PAUSE + 1).verdict == "waiting"
    assert kiosk.look(HEALTHY, -10_000).verdict == "waiting"


def test_a_reboot_gives_no_healthy_time(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    kiosk.start()
    kiosk.look(HEALTHY)
    monkeypatch.setattr(watch, "boot_id", lambda: "another boot")
    assert kiosk.look(HEALTHY, 90).verdict == "waiting"
    assert kiosk.look(HEALTHY, 60).verdict == "committed"  # within this boot it counts


def test_bad_minutes_after_a_good_start_roll_back(kiosk: Kiosk) -> None:
    kiosk.start()
    old = kiosk.slots.previous()
    assert [kiosk.look(a).verdict for a in (HEALTHY, HEALTHY, BAD)] == ["waiting"] * 3
    decision = kiosk.look(BAD)
    assert (decision.verdict, kiosk.slots.current(), kiosk.restarts) == ("rolled-back", old, 1)
    assert "not healthy for 60 s: nobody answers" in decision.reason


def test_a_look_without_rules_judges_by_those_of_the_switch(kiosk: Kiosk) -> None:
    begin(kiosk.slots, kiosk.slots.current(), kiosk.state, Rules(healthy_seconds=90))
    kiosk.start()  # the device's timer looks, and knows no --minutes of a deployment
    assert [kiosk.look(HEALTHY, 60, None).verdict for _ in range(3)] == ["waiting", "waiting", "committed"]


def test_a_look_without_rules_judges_by_the_last_that_brought_some(kiosk: Kiosk) -> None:
    kiosk.start()
    assert kiosk.look(HEALTHY, 30, Rules(healthy_seconds=90)).verdict == "waiting"
    assert [kiosk.look(HEALTHY, 60, None).verdict for _ in range(2)] == ["waiting", "committed"]


def test_the_timers_verb_brings_no_rules_and_a_deployments_does(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Rules | None] = []

    def looked(slots: Slots, state: Path, rules: Rules | None, *_: object) -> Decision:
        seen.append(rules)
        return Decision("nothing", "", "")

    monkeypatch.setattr(watch, "look", looked)
    for flags in ([], ["--minutes", "30", "--starts", "2"]):
        assert mien.main(["slot", "commit", "--prefix", str(kiosk.slots.prefix), *flags]) == 0
    assert seen == [None, Rules(healthy_seconds=1800, starts=2)]


def test_a_start_that_cannot_be_counted_is_none_that_fails(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(watch, "write_text", full)
    assert count_start(kiosk.slots, kiosk.state) == 1 and "No space left" in caplog.text


def test_short_troubles_are_forgiven(kiosk: Kiosk) -> None:
    kiosk.start()
    for answer in (BAD, HEALTHY, BAD, HEALTHY, BAD):
        assert kiosk.look(answer).verdict == "waiting"


def test_a_camera_that_is_away_counts_for_nothing(kiosk: Kiosk) -> None:
    kiosk.start()
    assert {kiosk.look(UNKNOWN).verdict for _ in range(50)} == {"waiting"}
    assert [kiosk.look(HEALTHY).verdict for _ in range(3)] == ["waiting", "waiting", "committed"]


def test_a_crash_loop_rolls_back_even_within_patience(kiosk: Kiosk) -> None:
    for _ in range(4):
        kiosk.start()
    decision = kiosk.look(BAD, 1)
    assert decision.verdict == "rolled-back" and "4 times" in decision.reason


def test_starts_with_health_between_them_are_no_loop(kiosk: Kiosk) -> None:
    for _ in range(8):
        kiosk.start()
        assert kiosk.look(HEALTHY, 1).verdict == "waiting"


def test_health_of_the_old_process_commits_nothing(kiosk: Kiosk) -> None:
    first = kiosk.look(HEALTHY)  # switched, and killed before the restart: the old one still answers
    assert (first.verdict, kiosk.restarts) == ("waiting", 1)
    assert "nobody restarted" in first.reason
    assert [kiosk.look(HEALTHY).verdict for _ in range(3)] == ["waiting", "waiting", "committed"]


def test_without_a_slot_to_return_to_it_waits_and_says_so(slots: Slots, bring: Bring) -> None:
    bring("1.0", commit=False)
    kiosk = Kiosk(slots)
    kiosk.start()
    kiosk.look(BAD)
    decisions = [kiosk.look(BAD) for _ in range(3)]
    assert decisions[-1].verdict == "waiting" and "nothing committed to return to" in decisions[-1].reason


def test_an_interrupted_rollback_is_finished_first(kiosk: Kiosk) -> None:
    def fails() -> None:
        raise OSError("killed")

    with pytest.raises(OSError), kiosk.slots.alone():
        kiosk.slots.roll_back("bad", fails)
    assert kiosk.look(HEALTHY).verdict == "rolled-back" and kiosk.restarts == 1


class Refused:
    """A restart that fails for the slots that it is told."""

    def __init__(self, kiosk: Kiosk, *slots: str):
        self.kiosk, self.slots = kiosk, slots

    def __call__(self) -> None:
        if self.kiosk.slots.current() in self.slots:
            restart_service("sh -c 'echo unit not found >&2; exit 5'")
        self.kiosk.restart()


@pytest.mark.parametrize("asked", ["after the switch", "by the timer"])
def test_a_slot_with_which_the_service_does_not_restart_is_rolled_back(kiosk: Kiosk, asked: str) -> None:
    old, new = kiosk.slots.previous(), kiosk.slots.current()
    restart = Refused(kiosk, new)
    decision = (restart_switched(kiosk.slots, restart) if asked == "after the switch" else
                look(kiosk.slots, kiosk.state, RULES, lambda slot: HEALTHY, restart, lambda: 0.0))
    assert (decision.verdict, kiosk.slots.current(), kiosk.restarts) == ("rolled-back", old, 1)
    entry = kiosk.slots.require(new)
    assert entry.state == "rolled-back" and "exit 5: unit not found" in entry.reason


def test_a_service_that_restarts_with_neither_slot_is_told_and_the_next_look_goes_on(kiosk: Kiosk) -> None:
    old, new = kiosk.slots.previous(), kiosk.slots.current()
    with pytest.raises(MienError, match="exit 5: unit not found"):
        restart_switched(kiosk.slots, Refused(kiosk, old, new))
    assert kiosk.slots.current() == old and kiosk.slots.interrupted()
    assert kiosk.look(BAD).verdict == "rolled-back" and kiosk.restarts == 1


def test_a_committed_slot_stays_where_the_service_does_not_restart(kiosk: Kiosk) -> None:
    new = kiosk.slots.current()
    with kiosk.slots.alone():
        kiosk.slots.commit("by hand")
    with pytest.raises(MienError, match=f"exit 5.*{new} stays current"):
        restart_switched(kiosk.slots, Refused(kiosk, new))
    assert kiosk.slots.state(new) == "committed"


def test_a_torn_watch_file_starts_the_count_anew(kiosk: Kiosk) -> None:
    kiosk.start()
    kiosk.look(HEALTHY)
    (kiosk.slots.prefix / "watch.json").write_text('{"slot": "1.')
    (kiosk.state / "starts.json").write_text("")
    assert kiosk.look(HEALTHY).verdict == "waiting"


@pytest.mark.parametrize(("values", "kind"), [
    ({"state": "running", "troubles": {}}, "healthy"), ({"state": "degraded", "troubles": {"mqtt": "away"}}, "healthy"),
    ({"state": "degraded", "troubles": {"engine": "fell back"}}, "bad"), ({"state": "camera-down"}, "unknown"),
    ({"state": "starting"}, "unknown"), ({"state": "degraded", "troubles": {"memory": "leaks"}}, "bad"),
    ([], "bad"), ({}, "bad")])
def test_what_an_answer_means(values: object, kind: str) -> None:
    assert judge(values).kind == kind
