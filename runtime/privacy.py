"""May pictures of people be kept now? Of a live source only with a written purpose and an end, by the wall clock.

Everything else that a stream writes holds no picture: docs/privacy.md. Knows nothing of how a video is written, and not
whether the purpose is lawful.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from runtime.errors import BadConfig

LONGEST = timedelta(days=31)  # ours: who needs more says so again each month
CLOCK_IS_SET = datetime(2026, 1, 1, tzinfo=timezone.utc)  # a board without a battery boots in 1970, before any end
PURPOSE = 200  # characters


@dataclass(frozen=True)
class RecordingConfig:
    """Permission to record a live source: until when (ISO 8601 with its offset from UTC), and what for; '' is none."""

    until: str = ""
    purpose: str = ""

    def __post_init__(self) -> None:
        if bool(self.until) != bool(self.purpose.strip()):
            raise ValueError(f"expected both until and purpose, or neither, found {self.until!r} and {self.purpose!r}")
        if len(self.purpose) > PURPOSE:
            raise ValueError(f"expected a purpose of at most {PURPOSE} characters, found {len(self.purpose)}")
        if self.until:
            self.end()

    def end(self) -> datetime:
        """Return the moment from which nothing is recorded. Raises ValueError where `until` names none."""
        try:
            end = datetime.fromisoformat(self.until.replace("Z", "+00:00"))  # Python 3.10 does not read the Z
        except ValueError:
            end = None
        if end is None or end.tzinfo is None:
            raise ValueError(f"expected until such as 2026-12-24T18:00:00+01:00, found {self.until!r}")
        return end


def now() -> datetime:
    """Return the wall clock's time: a permission ends on a date, not after a duration."""
    return datetime.now(timezone.utc)


def why_not_record(recording: RecordingConfig) -> str:
    """Return why a live source may not be recorded now, as what was found; '' where it may."""
    if not recording.until:
        return "no permission"
    moment, end = now(), recording.end()
    if moment < CLOCK_IS_SET:
        return f"a clock that is not set ({moment.date()})"
    if moment >= end:
        return f"one that ended at {recording.until}"
    if end - moment > LONGEST:
        return f"one for longer than {LONGEST.days} days, until {recording.until}"
    return ""


def is_clock_set() -> bool:
    """Return whether the wall clock can be right: one that was never set says nothing of any end."""
    return now() >= CLOCK_IS_SET


def require_permission(recording: RecordingConfig) -> None:
    """Raise BadConfig where no recording of a live source was ever allowed: no permission, or one for too long.

    One that ended, and a clock that is not set yet, keep pictures from being written, not a service from starting.
    """
    found = why_not_record(recording)
    if found and (not recording.until or (is_clock_set() and now() < recording.end())):
        raise BadConfig(f"expected a permission to record people from a live source, found {found}; leave out video, "
                        f"or write `recording: {{until: …, purpose: …}}` with an end within {LONGEST.days} days")
