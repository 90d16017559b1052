"""results.json: the rows of `mien results`, so that a table grows although the runs of its earlier rows are gone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.config import build
from runtime.errors import BadInput
from runtime.machine import describe_machine
from train.expression.results_table import Row

FILE = "results.json"


def as_record(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the file holds: the rows, and the machine this table was made on."""
    return {"rows": [dataclasses.asdict(row) for row in rows], "made_on": describe_machine()}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a results.json. Raises BadInput where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [build(Row, row, f"{path}, row {number}") for number, row in enumerate(found, 1)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"expected a table of mien results, found {path}: {error!r}; give a run's folder, or the "
                       f"{FILE} of an earlier --out") from error


def joined(earlier: Sequence[Row], measured: Sequence[Row]) -> tuple[Row, ...]:
    """Return the earlier rows, then those measured now; what was measured anew stands in its old place.

    Two rows are of one thing where recipe, data, changes, start and protocol are the same, whatever the epochs. None is
    left out but the earlier of such: two runs of one recipe are two rows.
    """
    rows: dict[object, list[Row]] = {}
    for row in earlier:
        rows.setdefault(_what(row), []).append(row)
    anew: dict[object, list[Row]] = {}
    for row in measured:
        anew.setdefault(_what(row), []).append(row)
    return tuple(row for same in (rows | anew).values() for row in same)


def _what(row: Row) -> tuple[object, ...]:
    return row.recipe, row.network, row.data, row.changes, row.started_from, row.reported_on
