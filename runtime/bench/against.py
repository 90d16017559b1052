"""Is this run slower than that one? Two records of one machine, compared row by row with intervals.

The runs share no rounds, so nothing is paired: each is resampled by itself, and the intervals of all rows hold together
(Bonferroni). They cover the scatter within the runs. Whether a machine was busier on one day they cannot know: rows
whose thread stood in the queue for a core are never called slower.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.bench.bootstrap import interval_of_ratio
from runtime.errors import DONE, FAILED, INCONCLUSIVE, BadInput

SAME = ("target", "threads")  # of the record; and of the machine:
SAME_MACHINE = ("processor", "gpu", "power_mode")
BUSY = 0.02  # share of the time in the queue for a core; an idle machine shows a tenth of that


@dataclass(frozen=True)
class Change:
    """One engine and batch: its new median by its old one, and what the interval says of the tolerance."""

    name: str
    batch: int
    ratio: float
    low: float
    high: float
    verdict: Literal["not slower", "slower", "inconclusive"]
    rounds_needed: int = 0
    busy: bool = False

    def to_text(self) -> str:
        """Return one line for a person."""
        more = f"; about {self.rounds_needed} rounds would tell" if self.rounds_needed else ""
        more += "; the machine was busy: run both on an idle one" if self.busy else ""
        return (f"{self.name:28} {self.batch:5}  {self.ratio:.3f} times the old median "
                f"({self.low:.3f}–{self.high:.3f}): {self.verdict}{more}")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record of `mien bench`. Raises BadInput."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"expected a record of mien bench, found {path}: {error}") from error
    rows = record.get("rows") if isinstance(record, dict) else None
    if not isinstance(rows, list) or not isinstance(record.get("made_on"), dict) or not all(map(_is_row, rows)):
        raise BadInput(f"expected a record of mien bench, found other JSON in {path}")
    for row in rows:
        if "samples_ms" in row and not _are_times(row["samples_ms"]):
            raise BadInput(f"expected the times of {row['name']} to be a list of milliseconds above 0, found "
                           f"{str(row['samples_ms'])[:40]} in {path}; make it again with mien bench --record")
    if not any("samples_ms" in row for row in rows):
        raise BadInput(f"expected the runs' own times in {path}, found only their percentiles; make it again with "
                       "mien bench --record")
    return dict(record)


def _is_row(row: Any) -> bool:
    """A name; and, unless the engine did not open, a batch and maybe the share of the time in the queue for a core."""
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return False
    timed = "samples_ms" in row or "batch" in row
    return not timed or (type(row.get("batch")) is int and row["batch"] >= 1
                         and _is_number(row.get("waited_for_core", 0.0)))


def _are_times(samples: Any) -> bool:
    return isinstance(samples, list) and bool(samples) and all(_is_number(time) and time > 0 for time in samples)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e12  # neither nan nor what no float holds


def compare_records(new: dict[str, Any], old: dict[str, Any], tolerance: float) -> list[Change]:
    """Compare the rows both records have; slower is a median above 1 + tolerance times the old. Raises BadInput."""
    for key in SAME:
        if new[key] != old.get(key):
            raise BadInput(f"expected records of one {key}, found {new[key]} and {old.get(key)}; say --{key} "
                           f"{old.get(key)}")
    for key in SAME_MACHINE:
        here, there = new["made_on"].get(key), old["made_on"].get(key)
        if here != there:
            raise BadInput(f"expected records of one machine, found the {key} {here} and {there}; compare each machine "
                           "with itself")
    before = {(row["name"], row["batch"]): row for row in old["rows"] if "samples_ms" in row}
    both = [row for row in new["rows"] if "samples_ms" in row and (row["name"], row["batch"]) in before]
    if not both:
        raise BadInput(f"expected an engine and batch that both records have, found {_names(new)} and {_names(old)}")
    confidence = 1 - 0.05 / len(both)
    return [_change(row, before[row["name"], row["batch"]], 1 + tolerance, confidence) for row in both]


def exit_code_of(changes: list[Change]) -> int:
    """Return 1 where a row is slower, else 4 where one is inconclusive, else 0."""
    verdicts = {change.verdict for change in changes}
    return FAILED if "slower" in verdicts else INCONCLUSIVE if "inconclusive" in verdicts else DONE


def _change(row: dict[str, Any], before: dict[str, Any], limit: float, confidence: float) -> Change:
    new, old = np.array(row["samples_ms"]), np.array(before["samples_ms"])
    ratio = float(np.median(new) / np.median(old))
    low, high = interval_of_ratio(new, old, confidence)
    busy = max(row.get("waited_for_core", 0.0), before.get("waited_for_core", 0.0)) > BUSY
    measured = (row["name"], row["batch"], ratio, low, high)
    if high <= limit:
        return Change(*measured, "not slower")
    if busy:
        return Change(*measured, "inconclusive", busy=True)
    if low > limit:
        return Change(*measured, "slower")
    # an interval narrows with the root of the rounds; at the limit itself no number would do
    fewest, away = min(len(new), len(old)), max(abs(math.log(ratio / limit)), 0.005)
    rounds = math.ceil(fewest * (math.log(high / low) / 2 / away) ** 2)
    return Change(*measured, "inconclusive", max(rounds, 2 * fewest))


def _names(record: dict[str, Any]) -> str:
    return ", ".join(f"{row['name']} at {row['batch']}" for row in record["rows"] if "batch" in row) or "nothing"
