"""What the doctor says of one thing. Knows nothing of what the things are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing this machine can or cannot do; `fix` is the one command or step that would change a no."""

    what: str
    works: bool
    found: str
    fix: str = ""

    def to_text(self) -> str:
        """Return one line for a person."""
        fix = f"  →  {self.fix}" if self.fix else ""
        return f"{'yes' if self.works else 'no':3} {self.what}: {self.found}{fix}"


def judge(what: str, works: bool, found: str, fix: str) -> Finding:
    """Make a finding whose fix is only named where it is needed."""
    return Finding(what, works, found, "" if works else fix)


def one_line(error: Exception) -> str:
    """Return what an error says on one line: a loader's own messages have several."""
    return " ".join(str(error).split())
