"""Faults 47 and 48: memory that grows, memory that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kiosk import endless_folder, events_in, finish, start, write_config


@pytest.mark.parametrize(("row", "fault", "says"), [
    (47, "leak", "memory grows by"), (48, "memory", "expected memory for the next frame")])
def test_47_48_a_planned_restart(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, row: int, fault: str, says: str,
    record_property: Callable[[str, object], None]
) -> None:
    record_property("fault", {47: "47 leak", 48: "48 out of memory"}[row])
    record_property("injected", {47: "2 MiB a frame stay", 48: "RLIMIT_AS just above what is used"}[row])
    events = tmp_path / "e.jsonl"
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=events, supervision={"memory_window": 1.0})
    code, _, told = finish(start(config, fault))
    found = events_in(events)
    assert code == 75 and told.count("\n") == 1 and says in told
    assert (found[-1]["event"], found[-1]["ended"]) == ("end", "failed")
    troubles = [e["troubles"] for e in found if e["event"] == "health"]
    assert row == 48 or any("grows by" in t.get("memory", "") for t in troubles)
    record_property("observed", f"exit 75 after {found[-1]['frames']} frames, one line, the events whole: "
                                f"{told.removeprefix('mien: ')[:80]}")
