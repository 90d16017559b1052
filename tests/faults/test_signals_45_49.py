"""Faults 45, 46, 49: SIGTERM while a frame is slow or hangs, a watchdog that must not be fed, two instances."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from kiosk import Manager, endless_folder, events_in, finish, has_event, start, wait_until, write_config

Record = Callable[[str, object], None]


@pytest.mark.parametrize(("fault", "code"), [("slow", 0), ("hang", 1)])
def test_45_sigterm_mid_frame(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, fault: str, code: int, record_property: Record
) -> None:
    record_property("fault", "45 SIGTERM mid-frame")
    record_property("injected", {"slow": "a frame that takes a second", "hang": "a frame that never ends"}[fault])
    events = tmp_path / "e.jsonl"
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=events)
    running = start(config, fault)
    wait_until(lambda: events.exists() and events.read_bytes().count(b"faces") > 5, running)
    time.sleep(0.3)
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    ended, _, _ = finish(running)
    took = time.monotonic() - asked
    last = events_in(events)[-1]
    assert (ended, last["event"], last["ended"]) == (code, "end", "stopped" if code == 0 else "failed")
    assert took < 5
    record_property("observed", f"exit {ended} after {took:.1f} s, the end event on the disk")


def test_46_watchdog_is_fed_by_progress_only(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record
) -> None:
    record_property("fault", "46 main loop hung, other threads alive")
    record_property("injected", "a frame that never ends; WatchdogSec=1; metrics and signal threads alive")
    events = tmp_path / "e.jsonl"
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=events)
    with closing(Manager(tmp_path / "notify")) as manager:
        running = start(config, "hang", {**manager.environment, "WATCHDOG_USEC": "2000"})  # a ping a frame
        wait_until(lambda: events.exists() and events.read_bytes().count(b'"faces"') > 8, running)
        time.sleep(0.3)
        before = list(manager.heard())
        time.sleep(1.5)
        after = manager.heard()[len(before) :]
        os.kill(running.pid, signal.SIGABRT)  # what systemd sends
        code, _, _ = finish(running)
    assert before[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert sum(m.startswith("READY=1") for m in before) == 1 and before.count("WATCHDOG=1") >= 2
    assert before.index("WATCHDOG=1") > [m[:7] for m in before].index("READY=1")
    assert after == []
    assert code == -signal.SIGABRT and not list(tmp_path.glob("core*"))
    record_property("observed", f"{before.count('WATCHDOG=1')} pings while frames passed, none in 1.5 s without; "
                                "no core dump")


def test_49_two_instances(tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record) -> None:
    record_property("fault", "49 two instances")
    record_property("injected", "the same stream.yaml started twice")
    events = tmp_path / "e.jsonl"
    config = write_config(tmp_path / "s.yaml", source=endless_folder(tmp_path / "in", face_photo), model=tiny_model,
                          events=events, supervision={"state": "state"})
    first = start(config)
    wait_until(lambda: has_event(events, "faces"), first)
    code, _, told = finish(start(config))
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 0
    assert code == 3 and told.count("\n") == 1 and f"process {first.pid}" in told
    assert sum(e["event"] == "start" for e in events_in(events)) == 1
    record_property("observed", "the second ends with 3 and names the first's process")
