"""Fault 30 for updates: the device's process is killed at any line of any step, and old or new runs, never neither."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / "slots_killed_at_every_line.py"
Record = Callable[[str, object], None]


def kill_all(folder: Path, scenario: str, step: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, PROGRAM, folder, scenario, str(step)], capture_output=True, text=True,
                          check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# ten to thirty kills a scenario, over 40 in all; `make slot-kills` takes every line
@pytest.mark.parametrize(("scenario", "step"), [("receive", 41), ("switch", 41), ("commit", 41), ("roll_back", 41)])
def test_30_killed_in_an_update(tmp_path: Path, scenario: str, step: int, record_property: Record) -> None:
    found = kill_all(tmp_path / "x", scenario, step)
    record_property("fault", "30 SIGKILL in an update")
    record_property("injected", f"{scenario}: {found['kills']} kills")
    record_property("observed", json.dumps(found["found"]))
    assert found["wrong"] == [] and found["kills"] >= 10 and "neither" not in found["found"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", ["receive", "switch", "commit", "roll_back"])
def test_30_killed_at_every_line_of_an_update(tmp_path: Path, scenario: str) -> None:
    found = kill_all(tmp_path / "x", scenario, 1)
    assert found["wrong"] == [] and found["kills"] > 200 and "neither" not in found["found"]
