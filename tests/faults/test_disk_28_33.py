"""Faults 28–33: a disk that is full, read-only or out of inodes; a process that is killed; a file torn or empty."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk import ROOT, endless_folder, events_in

from runtime.sinks.event_files import EventFiles
from runtime.sinks.events import EventLog
from runtime.supervision.fallback import FILE, Choice, FailureCount

Record = Callable[[str, object], None]


def may_mount() -> bool:
    """Whether a mount namespace and a tmpfs can be had here."""
    try:
        done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True,
                              check=False)
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="session")
def mounts() -> None:
    if not may_mount():
        pytest.skip("no mount namespaces here: this test mounts a small tmpfs, which needs root")


def stream_on_disk(tmp_path: Path, photo: np.ndarray, model: Path, fault: str) -> dict[str, Any]:
    disk = tmp_path / "disk"
    disk.mkdir()
    source = endless_folder(tmp_path / "in", photo)
    done = subprocess.run(["unshare", "--mount", sys.executable, ROOT / "tests" / "full_disk_process.py", disk, source,
                           model, fault], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(("fault", "says"), [
    ("full", "No space left"), ("read-only", "Read-only"), ("inodes", "No space left")])
def test_28_29_33_disk_takes_nothing_for_a_while(
    mounts: None, tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, fault: str, says: str,
    record_property: Record
) -> None:
    record_property("fault", {"full": "28 ENOSPC", "read-only": "29 read-only", "inodes": "33 inodes exhausted"}[fault])
    record_property("injected", f"a tmpfs of 4 MiB, {fault}, mended 1.5 s later")
    seen = stream_on_disk(tmp_path, face_photo, tiny_model, fault)
    assert (seen["ended"], seen["told"]) == ("stopped", 1) and seen["frames"] > 10
    assert seen["lost"] == 0  # all waited in memory
    assert seen["sequences"] == sorted(set(seen["sequences"]))
    assert seen["sequences"][-1] - seen["sequences"][0] + 1 == len(seen["sequences"])
    assert seen["rotated"] <= 2 and seen["bytes"] < 4 << 20
    states = [state for state, _ in seen["health"]]
    troubles = " ".join(trouble.get("events", "") for _, trouble in seen["health"])
    assert says in troubles and states[-2:] == ["running", "stopping"]
    record_property("observed", f"{seen['frames']} frames, {seen['lost']} events lost, {seen['rotated']} files "
                                f"rotated; health {' → '.join(states)}")


def test_28_disk_full_for_longer_than_memory_holds(tmp_path: Path, record_property: Record) -> None:
    record_property("fault", "28 ENOSPC for long")
    record_property("injected", "RLIMIT_FSIZE of 2,000 bytes in a child, 100 events, 10 places in memory, then lifted")
    program = """
import resource, sys, time
from pathlib import Path
from runtime.sinks import events
from runtime.sinks.events import EventLog
events.RETRY_SECONDS = 0
log = EventLog(Path(sys.argv[1]), waiting=10)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
for _ in range(100):
    log.write("faces", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
log.write("faces", {})
log.close()
"""
    path = tmp_path / "e.jsonl"
    subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, timeout=60,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = events_in(path)
    lost = found[-1]
    assert (lost["event"], found[-2]["seq"], lost["seq"]) == ("lost", 100, 101)
    assert lost["events"] == 101 - (len(found) - 1) > 50
    record_property("observed", f"{lost['events']} events lost, told in an event once the disk took writes again")


def test_29_io_error(tmp_path: Path, record_property: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    record_property("fault", "29 EIO")
    record_property("injected", "write fails with EIO 5 times, then works")
    failing, real = [5], os.write

    def write(handle: int, content: bytes) -> int:
        if failing[0] and content.startswith(b'{"seq":'):
            failing[0] -= 1
            raise OSError(5, "Input/output error")
        return real(handle, content)

    monkeypatch.setattr("runtime.sinks.events.RETRY_SECONDS", 0.0)
    log = EventLog(tmp_path / "e.jsonl")
    monkeypatch.setattr(os, "write", write)
    assert [log.write("faces", {}) for _ in range(7)] == [False] * 5 + [True] * 2
    log.close()
    assert [e["seq"] for e in events_in(tmp_path / "e.jsonl")] == list(range(7)) and log.lost == 0
    record_property("observed", "7 of 7 events in the end, in order")


def kill(folder: Path, kills: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, ROOT / "tests" / "killed_writing_events.py", folder, str(kills)],
                          capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_30_killed_at_each_step(tmp_path: Path, kills: int, record_property: Record) -> None:
    record_property("fault", "30 SIGKILL at each write step")
    seen = kill(tmp_path, kills)
    record_property("injected", f"{seen['kills']} SIGKILLs, each before one of {seen['moments']} lines executed")
    assert seen["kills"] > 0.9 * kills and seen["files"] > 10
    assert seen["events"] > seen["acknowledged"]  # some died between the two, so the moments do differ
    assert (seen["lost"], seen["twice"], seen["in_order"]) == ([], 0, True)
    assert seen["acknowledged"] > 2 * kills
    record_property("observed", f"0 of {seen['acknowledged']} acknowledged events lost, 0 numbers twice")


@pytest.mark.parametrize("torn", [b'{"seq":3,"event":"fa', b"\0" * 4096, b'{"seq":3,"event":"x"}', b"\xff\n"])
def test_31_torn_last_line(tmp_path: Path, torn: bytes, record_property: Record) -> None:
    record_property("fault", "31 torn last line")
    record_property("injected", repr(torn[:24]))
    path = tmp_path / "e.jsonl"
    for more in (torn, b""):
        log = EventLog(path)
        for _ in range(3):
            log.write("faces", {})
        log.close()
        path.write_bytes(path.read_bytes() + more)
    assert log.repaired == 1
    assert [e["seq"] for e in events_in(path)] == list(range(6))
    record_property("observed", "cut away, counted, numbers go on")


@pytest.mark.parametrize("content", [b"", b"\0" * 200])
def test_32_empty_file_after_a_power_cut(tmp_path: Path, content: bytes, record_property: Record) -> None:
    record_property("fault", "32 zero-length file after a power cut")
    record_property("injected", f"the events file and the count of engine failures as {len(content)} zero bytes")
    path, asked = tmp_path / "e.jsonl", Choice("int8", "tensorrt")
    log = EventLog(path, EventFiles(rotate_mb=0.001, keep=0))
    for _ in range(20):
        log.write("faces", {})
    log.close()
    current = [e["seq"] for e in events_in(path)]
    FailureCount(tmp_path, "m", asked, 1).add("x")
    path.write_bytes(content)
    (tmp_path / FILE).write_bytes(content)
    log = EventLog(path)
    log.write("start", {})
    log.close()
    assert [e["seq"] for e in events_in(path)] == [current[0]]  # after the newest that was rotated away
    assert FailureCount(tmp_path, "m", asked, 1).rung() == 0
    record_property("observed", "numbers go on after the last rotated file, no failure is counted, both write again")


def test_33_descriptors_exhausted(tmp_path: Path, record_property: Record) -> None:
    record_property("fault", "33 descriptors exhausted")
    record_property("injected", "RLIMIT_NOFILE at what is open, then rotation by every event")
    log = EventLog(tmp_path / "e.jsonl", EventFiles(rotate_mb=0.0001, keep=0, fsync="never"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        kept = [log.write("faces", {}) for _ in range(5)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log.write("faces", {})
    log.close()
    assert kept == [True] * 5 and log.lost == 0
    assert sorted(e["seq"] for f in tmp_path.iterdir() for e in events_in(f)) == list(range(6))
    record_property("observed", "no new file could be opened: the old one went on, 0 events lost")
