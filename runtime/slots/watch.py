"""From the switch to the commit: healthy seconds are counted, crashes and bad minutes too, and one of them decides.

Asked again and again by a timer. Only time between two looks at a stream that was healthy at both counts, and no more
than the longest pause: a clock that jumps, a reboot or a timer that slept gives nothing away.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from runtime.durable import sweep, write_text
from runtime.errors import MienError
from runtime.slots.asked_health import Answer
from runtime.slots.journal import boot_id
from runtime.slots.slots import Slots
from runtime.slots.spare_room import with_room

log = logging.getLogger(__name__)

LONGEST_PAUSE = 120.0  # s between two looks that still counts; the timer comes every 30
Verdict = Literal["nothing", "waiting", "committed", "rolled-back"]


@dataclass(frozen=True)
class Rules:
    """Commit after so many healthy seconds; roll back after so many bad ones in a row, or so many starts without a
    healthy look between them."""

    healthy_seconds: float = 600.0
    bad_seconds: float = 180.0  # opening a model may take 90 (runtime/stream.py), and systemd waits between starts
    starts: int = 5


@dataclass(frozen=True)
class Watch:
    """What was seen of one slot, and how it is judged. starts_seen: how often it had been started at the switch, or
    last healthy look."""

    slot: str
    starts_seen: int
    started: bool = False
    healthy: float = 0.0
    bad: float = 0.0
    boot: str = ""
    looked: float = 0.0
    was_healthy: bool = False
    said: str = ""
    rules: Rules = Rules()


@dataclass(frozen=True)
class Decision:
    """What a look led to, and why."""

    verdict: Verdict
    slot: str
    reason: str
    watch: Watch | None = None


def begin(slots: Slots, slot: str, state: Path, rules: Rules = Rules()) -> None:
    """Forget what was seen before; called before the switch, so that nothing old counts for the new slot."""
    _write(slots, Watch(slot, starts_of(state, slot), rules=rules))


def look(slots: Slots, state: Path, rules: Rules | None, ask: Callable[[str], Answer], restart: Callable[[], None],
         now: Callable[[], float] = time.monotonic) -> Decision:
    """Look at the running slot once: commit it, roll it back, or wait.

    state: where starts are counted; rules: None for those of the switch or of the last look that brought some; ask:
    health of a slot; restart: restarts the service. Raises MienError.
    """
    with slots.alone():
        if before := slots.recover(restart):
            return Decision("rolled-back", before, "an interrupted rollback was finished")
        slot = slots.current()
        if not slot or slots.state(slot) == "committed":
            return Decision("nothing", slot, "committed" if slot else "no slot runs")
        watch, answer = _update(_read(slots, slot), starts_of(state, slot), ask(slot), now())
        rules = rules or watch.rules
        watch = replace(watch, rules=rules)  # the timer that looks next brings none
        _write(slots, watch)
        if watch.healthy >= rules.healthy_seconds and answer.kind == "healthy":
            slots.commit(f"healthy for {watch.healthy:.0f} s")
            return Decision("committed", slot, f"healthy for {watch.healthy:.0f} s", watch)
        starts = starts_of(state, slot) - watch.starts_seen
        reason = ""
        if starts > rules.starts:
            reason = f"started {starts} times without being healthy once; last: {watch.said}"
        elif watch.bad >= rules.bad_seconds:
            reason = f"not healthy for {watch.bad:.0f} s: {watch.said}"
        if not watch.started and not reason:  # killed between the switch and the restart
            reason = _why_not(restart)
        if reason and slots.previous():
            return Decision("rolled-back", slots.roll_back(reason, restart), reason, watch)
        why = f"{reason}; nothing committed to return to" if reason else watch.said
        return Decision("waiting", slot, f"{watch.healthy:.0f} of {rules.healthy_seconds:.0f} s healthy; {why}", watch)


def restart_switched(slots: Slots, restart: Callable[[], None]) -> Decision:
    """Restart the service with the slot that was switched to, or go back where it does not restart.

    Raises MienError with the reason where there is nothing to go back to, and where the service does not restart with
    the old slot either; then the next look goes on.
    """
    with slots.alone():
        if before := slots.recover(restart):
            return Decision("rolled-back", before, "an interrupted rollback was finished")
        slot = slots.current()
        if not (reason := _why_not(restart)):
            return Decision("waiting", slot, "the service was restarted")
        if slots.state(slot) == "committed" or not slots.previous():
            raise MienError(f"{reason}; {slot or 'nothing'} stays current")
        return Decision("rolled-back", slots.roll_back(reason, restart), reason)


def count_start(slots: Slots, state: Path) -> int:
    """Count a start of the running slot, before it starts; return how many that were. Writes only into `state`, and
    where that cannot be written the start is not counted: a full disk must not keep the kiosk from starting."""
    slot = slots.current()
    starts = starts_of(state, slot) + 1
    try:
        write_text(state / "starts.json", json.dumps({"slot": slot, "starts": starts}) + "\n")
    except OSError as error:
        log.warning("a start of %s could not be counted in %s: %s", slot or "no slot", state, error.strerror)
    return starts


def starts_of(state: Path, slot: str) -> int:
    """Return how often a slot was started since another one was."""
    try:
        values = json.loads((state / "starts.json").read_text())
        return int(values["starts"]) if values["slot"] == slot else 0
    except (OSError, ValueError, KeyError, TypeError):  # torn or absent: starts are counted anew
        return 0


def _why_not(restart: Callable[[], None]) -> str:
    """Restart; return why it failed, '' where it did not."""
    try:
        restart()
    except MienError as error:
        return str(error)
    return ""


def _update(watch: Watch, starts: int, answer: Answer, now: float) -> tuple[Watch, Answer]:
    """Add the time since the last look to what it was; return the watch and the answer as it counts."""
    boot = boot_id()
    passed = now - watch.looked if watch.boot == boot and 0 < now - watch.looked <= LONGEST_PAUSE else 0.0
    started = watch.started or starts > watch.starts_seen
    if answer.kind == "healthy" and not started:
        answer = Answer("bad", "the slot before it still answers: nobody restarted the service")
    is_healthy, is_bad = answer.kind == "healthy", answer.kind == "bad"
    return replace(
        watch, starts_seen=starts if is_healthy else watch.starts_seen, started=started,
        healthy=watch.healthy + (passed if is_healthy and watch.was_healthy else 0.0),
        bad=watch.bad + passed if is_bad else 0.0 if is_healthy else watch.bad,
        boot=boot, looked=now, was_healthy=is_healthy, said=answer.said), answer


def _write(slots: Slots, watch: Watch) -> None:
    sweep(slots.prefix, "watch.json")
    content = json.dumps(asdict(watch)) + "\n"
    with_room(slots.prefix, lambda: write_text(slots.prefix / "watch.json", content))


def _read(slots: Slots, slot: str) -> Watch:
    """Return what was seen of a slot; of another one's, or of a torn file, nothing."""
    try:
        values = json.loads((slots.prefix / "watch.json").read_text())
        watch = Watch(**{**values, "rules": Rules(**values["rules"])})
    except (OSError, ValueError, KeyError, TypeError):
        return Watch(slot, 0)
    return watch if watch.slot == slot else Watch(slot, 0)
