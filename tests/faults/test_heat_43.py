"""Fault 43: a board slows itself for heat. An event says so, every face is read as before. A fake /sys, no board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk import events_in, folder_of

from runtime.stream import run_stream
from runtime.stream_config import StreamConfig
from runtime.supervision import power, supervision

FRAMES = 5


def test_43_thermal_throttling(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None]
) -> None:
    pictures = folder_of(tmp_path / "in", face_photo, frames=FRAMES)

    def events(name: str) -> list[dict[str, Any]]:
        run_stream(StreamConfig(str(pictures), model=str(tiny_model), events=tmp_path / name))
        return events_in(tmp_path / name)

    monkeypatch.setattr(supervision, "thermal_alerts", lambda: power.thermal_alerts(tmp_path))
    cool = events("cool.jsonl")
    device = tmp_path / "sys/class/thermal/cooling_device0"
    device.mkdir(parents=True)
    (device / "type").write_text("cpu-throttle-alert\n")
    (device / "cur_state").write_text("1\n")
    hot = events("hot.jsonl")

    faces = [[e["faces"] for e in found if e["event"] == "faces"] for found in (cool, hot)]
    troubles = [[e["troubles"] for e in found if e["event"] == "health"] for found in (cool, hot)]
    record_property("fault", "43 thermal throttling")
    record_property("injected", "a fake /sys whose cooling device raises cpu-throttle-alert")
    record_property("observed", f"the trouble `heat` in an event; {len(faces[1])} of {FRAMES} frames read as without")
    assert {"heat": "the board raises cpu-throttle-alert: it may be slowed"} in troubles[1]
    assert not any("heat" in trouble for trouble in troubles[0])
    assert faces[0] == faces[1] and len(faces[1]) == FRAMES
