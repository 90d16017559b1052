"""How a stream is: starting, running, degraded, camera-down or stopping, and why. Every change is told as it happens.

Knows nothing of what is wrong beyond a name and a line; whoever finds a trouble reports it, and its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["starting", "running", "degraded", "camera-down", "stopping"]
STATES: tuple[State, ...] = ("starting", "running", "degraded", "camera-down", "stopping")
CAMERA = "camera"  # the one trouble without which nothing is seen


@dataclass(frozen=True)
class Change:
    """One change of health; `troubles` are those that stand now, each by name with a line for people."""

    before: State
    state: State
    troubles: dict[str, str]


@dataclass
class Health:
    """The state that follows from the troubles that stand. `tell` is called once a change, in the caller's thread."""

    tell: Callable[[Change], object] = lambda change: None
    state: State = "starting"
    troubles: dict[str, str] = field(default_factory=dict)
    _phase: State = "starting"

    def started(self) -> None:
        """Every piece is open and the engine agrees with its golden faces."""
        self._phase = "running"
        self._settle(changed=False)

    def stopping(self) -> None:
        """The stream ends; no trouble changes that."""
        self._phase = "stopping"
        self._settle(changed=False)

    def report(self, name: str, trouble: str = "") -> None:
        """Set a trouble by name, or end it with an empty line; one that stands already is told once."""
        begins, ends = bool(trouble) and name not in self.troubles, not trouble and name in self.troubles
        if trouble:
            self.troubles = {**self.troubles, name: trouble}
        elif ends:
            self.troubles = {k: v for k, v in self.troubles.items() if k != name}
        self._settle(changed=begins or ends)

    def tell_again(self) -> None:
        """Tell the state as it stands, to who has only now begun to listen."""
        self.tell(Change(self.state, self.state, self.troubles))

    @property
    def is_ready(self) -> bool:
        """Whether expressions are read now: running or degraded."""
        return self.state in ("running", "degraded")

    def _settle(self, changed: bool) -> None:
        before, state = self.state, self._phase
        if state == "running" and self.troubles:
            state = "camera-down" if CAMERA in self.troubles else "degraded"
        self.state = state
        if state != before or (changed and state != "starting"):  # those of the start are told once it runs
            self.tell(Change(before, state, self.troubles))
