"""Which precision and target to open after an engine failed: asked, FP32 on that target, then the CPU.

The failures of one process after another are counted in a file, for a GPU that is lost is lost for its process. Knows
nothing of what failed, and goes back to what was asked once that, or the model, is another.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.durable import write_text

log = logging.getLogger(__name__)

FILE = "engine-failures.json"


@dataclass(frozen=True)
class Choice:
    """A precision (fp32, fp16, int8) on a target."""

    precision: str
    target: str

    def __str__(self) -> str:
        return f"{self.precision} on {self.target}"


def ladder(asked: Choice) -> list[Choice]:
    """Return what to try, in order: as asked, FP32 on that target, the asked precision on the CPU, FP32 there."""
    rungs = (asked, Choice("fp32", asked.target), Choice(asked.precision, "cpu"), Choice("fp32", "cpu"))
    return list(dict.fromkeys(rungs))


@dataclass(frozen=True)
class Failures:
    """How often engines failed in a row, of one model and one choice, and what the last one said."""

    model: str
    asked: Choice
    count: int = 0
    why: str = ""


class FailureCount:
    """The file in the state folder that outlives a process; without a folder nothing is counted."""

    def __init__(self, folder: Path | None, model: str, asked: Choice, tries: int):
        """Read what is there; what is unreadable, or of another model or choice, counts as none."""
        self._path = folder / FILE if folder else None
        self._none, self._tries = Failures(model, asked), tries
        self._now = self._read()

    def rung(self) -> int:
        """Return which rung of the ladder to begin with: one lower after every `tries` failures in a row."""
        return min(self._now.count // self._tries, len(ladder(self._none.asked)) - 1)

    @property
    def why(self) -> str:
        """What the last failure said, or ''."""
        return self._now.why

    def add(self, why: str) -> None:
        """Count one failure."""
        self._keep(Failures(self._none.model, self._none.asked, self._now.count + 1, why))

    def settled(self) -> None:
        """Forget failures, once what was asked has worked; on a lower rung they stay, or it would be tried again."""
        if self._now.count and self.rung() == 0:
            self._keep(self._none)

    def _read(self) -> Failures:
        if self._path is None:
            return self._none
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            found = Failures(values["model"], Choice(**values["asked"]), int(values["count"]), str(values["why"]))
        except FileNotFoundError:
            return self._none
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("expected engine failures in %s, found: %s; none are counted", self._path, error)
            return self._none
        same = (found.model, found.asked) == (self._none.model, self._none.asked)
        return found if same and found.count >= 0 else self._none

    def _keep(self, failures: Failures) -> None:
        self._now = failures
        if self._path is None:
            return
        try:
            write_text(self._path, json.dumps(asdict(failures)) + "\n")
        except OSError as error:  # a full disk costs the count, not the stream
            log.warning("expected to keep engine failures in %s, found: %s; the stream goes on", self._path, error)
