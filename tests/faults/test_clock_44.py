"""Fault 44: the clock jumps by a year, forward, back, and to 1970."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kiosk import endless_folder, events_in, finish, has_event, start, wait_until, write_config

LIBRARY = next((p for p in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.mark.skipif(LIBRARY is None, reason="no libfaketime here: apt-get install faketime")
def test_44_clock_jumps(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Callable[[str, object], None]
) -> None:
    record_property("fault", "44 the clock jumps by a year, boots in 1970")
    record_property("injected", "libfaketime: +365 days, -365 days, 1970, while the stream runs")
    events, clock = tmp_path / "e.jsonl", tmp_path / "clock"
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=events)
    clock.write_text("+0")
    running = start(config, environment={
        "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    wait_until(lambda: has_event(events, "faces"), running)
    for offset in ("+365d", "-365d", "@1970-01-01 00:00:01"):
        (tmp_path / "next").write_text(offset)
        os.replace(tmp_path / "next", clock)
        written = events.stat().st_size
        wait_until(lambda written=written: events.stat().st_size > written + 2000, running)
    running.send_signal(signal.SIGTERM)
    code, summary, _ = finish(running)
    found = events_in(events)
    years = {event["time"][:4] for event in found}
    assert "1970" in years and len(years) >= 4
    assert [e["seq"] for e in found] == list(range(len(found)))
    assert (np.diff([e["monotonic"] for e in found]) > 0).all() and len({e["boot"] for e in found}) == 1
    assert [e["state"] for e in found if e["event"] == "health"] == ["running", "stopping"]
    assert (code, summary["lost_events"], len(list(tmp_path.glob("e.jsonl*")))) == (0, 0, 1)
    record_property("observed", f"{len(found)} events in order by boot id, seq and the monotonic clock, over the years "
                                f"{', '.join(sorted(years))}; no health change, no rotation, no time-out")
