"""Measure every part on this machine, one after the other, and make one record of it. Writes nothing.

Engines go into a folder that is gone afterwards, so that every build is a real one and the user's cache stays as it is.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from export.board.measure_part import measure_part
from export.board.private import without_private
from export.board.record import FACTS, FIELDS, PARTS, SCHEMA, BoardRecord, record_from
from export.board.task import Task
from runtime.doctor import as_dict, examine
from runtime.machine import find_gpu, l4t_release
from runtime.supervision.power import throttling

Tell = Callable[[str], None]


def make_report(task: Task, tell: Tell) -> BoardRecord:
    """Measure everything; `tell` hears a line a part. Raises BadModel for a model that cannot be read."""
    card = task.open_model().card
    doctor = as_dict(examine())
    parts, results = [], {}
    slow_before = throttling()
    with tempfile.TemporaryDirectory(prefix="mien-board-") as folder:
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        for number, name in enumerate(PARTS, 1):
            tell(f"{number} of {len(PARTS)}: {name}")
            part, results[FIELDS[name]] = measure_part(name, task, environment)
            tell(f"    {part['status']}{': ' if part['why'] else ''}{part['why']}  ({part['seconds']:.0f} s)")
            parts.append(part)
    lists = {field: () for field in ("builds", "ahead_of_time", "layers", "numerics", "bench")}
    return record_from({
        "schema": SCHEMA, "made": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}", "mien": _version(),
        "commit": _plain(doctor["facts"]["commit"]), "target": task.target, "model": _plain(card.name),
        "facts": {key: _plain(value) for key, value in doctor["facts"].items() if key in FACTS and value},
        "targets": doctor["targets"], "throttled": bool(slow_before or throttling()), "parts": parts,
        **{field: found or lists.get(field) for field, found in results.items()}}, "what was measured here")


def target_here(root: Path = Path("/")) -> str:
    """Return what this machine should be asked for: its GPU's library wherever there is a GPU, working or not."""
    return "tensorrt" if l4t_release(root) else "tensorrt-rtx" if find_gpu(root) else "cpu"


def _plain(text: Any) -> str:
    """A fact in the letters that a record takes; what else stands in a processor's name tells nothing."""
    kept = "".join(letter if letter.isalnum() or letter in " .,:()+×@_-" else " "
                   for letter in without_private(str(text), names=()))
    return " ".join(kept.split())


def _version() -> str:
    try:
        return version("mien")
    except PackageNotFoundError:
        return "of a checkout"
