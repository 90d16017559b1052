"""Fault 32 for updates: the power goes between a write and its fsync; old or new is whole, never neither."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parent.parent / "slots_power_cut.py"
Record = Callable[[str, object], None]


def cut_all(folder: Path, scenario: str, step: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, PROGRAM, folder, scenario, str(step)], capture_output=True, text=True,
                          check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("scenario", ["switch", "roll_back"])
def test_32_the_power_goes_in_an_update(tmp_path: Path, scenario: str, record_property: Record) -> None:
    found = cut_all(tmp_path / "x", scenario, 2)
    record_property("fault", "32 power cut in an update")
    record_property("injected", f"{scenario}: {found['cuts']} disks without what fsync was not asked for")
    record_property("observed", json.dumps(found["found"]))
    assert found["wrong"] == [] and found["cuts"] >= 3 and "neither" not in found["found"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", ["receive", "switch", "commit", "roll_back"])
def test_32_the_power_goes_at_every_change_of_the_disk(tmp_path: Path, scenario: str) -> None:
    found = cut_all(tmp_path / "x", scenario, 1)
    assert found["wrong"] == [] and found["cuts"] >= 5 and "neither" not in found["found"]
