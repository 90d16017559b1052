"""How a lost camera is won back: which rung is taken next, and after how long. Knows nothing of how a rung is done.

The ladder: *reopen* in the same capture process (where it still answers) → *restart-child* → *restart-daemon* (a
command, such as `systemctl restart nvargus-daemon`) → *device-hook* (a command that knows the device and may cut its
power). Rungs without a command are left out. After the top it goes on from restart-child.
"""

from __future__ import annotations

import random
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Rung = Literal["reopen", "restart-child", "restart-daemon", "device-hook"]

FIRST_WAIT = 0.25  # seconds before the second try of an outage; each further one waits twice as long
RESTARTS = 2  # of the child before a costlier rung
SETTLED = 1.0  # seconds of frames after which the next outage is tried at once again
CALM = 60.0  # seconds of frames after which the next outage starts at the bottom
COMMANDS_APART = 300.0  # seconds between two commands; a camera may be gone for weeks


@dataclass(frozen=True)
class Recovery:
    """What a live source may do by itself, and when.

    stall_seconds: without a frame the camera counts as hung. start_seconds: the same for the first frame after opening.
    longest_wait: seconds between two tries. wait_at_start: a camera that is absent at the start is waited for; else it
    raises Unavailable. Commands run without a shell; '' leaves a rung out. frozen_seconds: see `quality.py`.
    credentials: a file of `user:password`, see `credentials.py`. spare: a second capture process waits with its
    imports done, for its memory; without it each recovery takes a Python's start longer.
    """

    stall_seconds: float = 2.0
    start_seconds: float = 10.0
    longest_wait: float = 5.0
    wait_at_start: bool = False
    daemon_command: str = ""
    device_command: str = ""
    frozen_seconds: float = 5.0
    credentials: Path | None = None
    spare: bool = True

    def __post_init__(self) -> None:
        for name, least, most in (("stall_seconds", 0.2, 60), ("start_seconds", 0.5, 300), ("longest_wait", 0.1, 3600),
                                  ("frozen_seconds", 0, 3600)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least:g}–{most:g}, found {getattr(self, name)}")
        for name in ("daemon_command", "device_command"):
            try:
                shlex.split(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"expected a command as {name}, found an open quote ({error}); close it") from None


@dataclass(frozen=True)
class Step:
    """A rung to be taken after `wait` seconds, and its number in this outage, from 1."""

    rung: Rung
    wait: float
    attempt: int


class Ladder:
    """Where on the ladder an outage stands. Times are monotonic seconds that the caller gives."""

    def __init__(self, recovery: Recovery, chance: random.Random | None = None):
        """Start at the bottom; `chance` draws the jitter, which keeps many kiosks from knocking in step."""
        self._longest = recovery.longest_wait
        self._chance = chance or random.Random()
        self._rungs: list[Rung] = ["restart-child"] * RESTARTS
        self._rungs += ["restart-daemon"] if recovery.daemon_command else []
        self._rungs += ["device-hook"] if recovery.device_command else []
        self._place = self._attempt = 0
        self._good_since: float | None = None
        self._last_command = float("-inf")

    def next(self, now: float, answers: bool) -> Step:
        """Return the step to take after a loss at `now`; `answers`: the child lives and can reopen by itself."""
        self._good_since = None
        self._attempt += 1
        wait = 0.0
        if self._attempt > 1:
            ceiling = min(self._longest, FIRST_WAIT * 2.0 ** min(self._attempt - 2, 16))
            wait = ceiling * self._chance.uniform(0.5, 1.0)
        return Step(self._rung(now + wait, answers), wait, self._attempt)

    def good(self, now: float) -> None:
        """Hear that a frame came at `now`."""
        if self._good_since is None:
            self._good_since = now
        if now - self._good_since >= SETTLED:
            self._attempt = 0
        if now - self._good_since >= CALM:
            self._place = 0

    def _rung(self, when: float, answers: bool) -> Rung:
        if answers and self._attempt == 1:
            return "reopen"
        rung = self._rungs[self._place % len(self._rungs)]
        if rung != "restart-child":
            if when - self._last_command < COMMANDS_APART:
                return "restart-child"  # the place stays: the command is due as soon as it may run again
            self._last_command = when
        self._place += 1
        return rung
