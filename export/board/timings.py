"""`mien bench` of every precision on this target, without each run's own time. Knows nothing of how time is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.board.task import Measured, Task
from runtime.bench.run import Plan, run_bench
from runtime.card import PRECISIONS
from runtime.errors import UNAVAILABLE

BATCHES = (1, 8)  # one face at a time, and what a crowd or a server asks for


def time_engines(task: Task) -> Measured:
    """Time every precision; each row is a `record.Timing`. An engine that departs from PyTorch is not timed."""
    record, code = run_bench(Plan((Path(task.model),), PRECISIONS, task.target, BATCHES, task.rounds))
    untimed = [f"{row['name']}: {row['status']}" for row in record["rows"] if "milliseconds" not in row]
    found = [_row(row) for row in record["rows"] if "milliseconds" in row]
    return Measured(found, missing=untimed) if code == UNAVAILABLE else Measured(found, untimed)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    power = row.get("power", {})
    return {"precision": row["name"].rpartition(" ")[2], "batch": row["batch"], **row["milliseconds"],
            "faces_per_second": row["faces_per_second"], "waited_for_core": row["waited_for_core"],
            "peak_mib": row["memory"]["peak_mib"], "watts": power.get("watts", {}).get("total"),
            "millijoules_per_face": power.get("millijoules_per_face")}
