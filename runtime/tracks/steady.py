"""Readings of a face over time → one label that does not flicker.

Probabilities are averaged with weights that fall off exponentially in seconds, not in frames; the label changes when
another leads by a margin, and then stays a while. Knows nothing of boxes: a face is a track's number, and what is known
of it goes when the track ends.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtime.expressions import UNSURE, Expression


@dataclass(frozen=True)
class SteadyRules:
    """How slowly a label follows the readings. Times in the frames' seconds, the others probabilities.

    seconds: time constant of the average, 0: none. margin: how far another label must lead. dwell: how long a label
    stays at least. threshold: below it a face is "unsure". read_every: the network reads a face at least every so many
    frames; in between its last answer stands.
    """

    threshold: float = 0.4
    seconds: float = 0.5
    margin: float = 0.1
    dwell: float = 0.5
    read_every: int = 1

    def __post_init__(self) -> None:
        shares, times = (self.threshold, self.margin), (self.seconds, self.dwell)
        if not all(0 <= s <= 1 for s in shares) or not all(0 <= t <= 60 for t in times) or self.read_every < 1:
            raise ValueError("expected threshold and margin of 0–1, seconds and dwell of 0–60 and read_every of 1 or "
                             f"more, found {self}")


STEADY = SteadyRules()


@dataclass(frozen=True)
class SteadyLabel:
    """One face's smoothed probabilities (classes,) float64, the label they gave, and when it changed last."""

    probabilities: np.ndarray
    label: str
    read: float
    changed: float

    @classmethod
    def first(cls, reading: Expression, labels: Sequence[str], rules: SteadyRules, seconds: float) -> SteadyLabel:
        """Begin with a reading as it is."""
        probabilities = reading.probabilities.astype(np.float64)
        best = int(probabilities.argmax())
        label = labels[best] if probabilities[best] >= rules.threshold else UNSURE
        return cls(probabilities, label, seconds, seconds)

    def then(self, reading: Expression, labels: Sequence[str], rules: SteadyRules, seconds: float) -> SteadyLabel:
        """Return the state after another reading. After one time constant the old ones weigh 1/e, at any frame rate."""
        passed = max(0.0, seconds - self.read)
        old = math.exp(-passed / rules.seconds) if rules.seconds else 0.0
        probabilities = old * self.probabilities + (1 - old) * reading.probabilities
        state = replace(self, probabilities=probabilities, read=seconds)
        leading = state._leading(labels, rules)
        if leading == self.label or seconds - self.changed < rules.dwell:
            return state
        return replace(state, label=leading, changed=seconds)

    def expression(self, labels: Sequence[str]) -> Expression:
        """Return the label with its smoothed probability; that of the best one where the label is "unsure"."""
        at = int(self.probabilities.argmax()) if self.label == UNSURE else labels.index(self.label)
        return Expression(self.label, float(self.probabilities[at]), self.probabilities.astype(np.float32))

    def _leading(self, labels: Sequence[str], rules: SteadyRules) -> str:
        """Return the label that should stand by the probabilities alone: this one, unless another leads by a margin."""
        best = int(self.probabilities.argmax())
        top = float(self.probabilities[best])
        if self.label == UNSURE:
            return labels[best] if top >= rules.threshold else UNSURE
        own = float(self.probabilities[labels.index(self.label)])
        if top < rules.threshold:  # nobody is sure: leaves only well below, else a face at the threshold flickers
            return UNSURE if own < rules.threshold - rules.margin else self.label
        return labels[best] if top >= own + rules.margin else self.label


class SteadyLabels:
    """The steady labels of all living tracks, and which faces the network must read now."""

    def __init__(self, labels: Sequence[str], rules: SteadyRules = STEADY):
        """Take the card's labels, in the order of the probabilities."""
        self._labels, self._rules = labels, rules
        self._states: dict[int, SteadyLabel] = {}
        self._last: dict[int, tuple[int, Expression | None]] = {}  # the frame's number and the raw reading
        self._frame = 0
        self.changes = 0  # of steady labels so far

    def due(self, tracks: Sequence[int]) -> list[int]:
        """Begin a frame with these tracks; returns the places of those that the network must read."""
        self._frame += 1
        return [place for place, track in enumerate(tracks)
                if track not in self._last or self._frame - self._last[track][0] >= self._rules.read_every]

    def read(self, tracks: Sequence[int], readings: Sequence[Expression | None], seconds: float) -> None:
        """Take one reading a track that was due; one that was not finite (None) leaves the label as it was."""
        for track, reading in zip(tracks, readings):
            self._last[track] = (self._frame, reading)
            if reading is None:
                continue
            before = self._states.get(track)
            now = (before.then(reading, self._labels, self._rules, seconds) if before
                   else SteadyLabel.first(reading, self._labels, self._rules, seconds))
            self.changes += before is not None and before.label != now.label
            self._states[track] = now

    def raw(self, tracks: Sequence[int]) -> list[Expression | None]:
        """Return each track's last reading as the network gave it; None where that was not finite."""
        return [self._last[track][1] for track in tracks]

    def steady(self, tracks: Sequence[int]) -> list[Expression | None]:
        """Return each track's steady expression; None where none of its readings was finite."""
        states = [self._states.get(track) for track in tracks]
        return [state.expression(self._labels) if state else None for state in states]

    def keep(self, living: Collection[int]) -> None:
        """Forget every track but these."""
        self._states = {track: state for track, state in self._states.items() if track in living}
        self._last = {track: last for track, last in self._last.items() if track in living}
