"""Event files: rotated by size and age, bounded in number, flushed as asked, numbered on whatever happens to a file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from runtime import privacy
from runtime.errors import BadInput, Unavailable
from runtime.sinks.event_files import EventFile, EventFiles, next_sequence, rotated_files
from runtime.sinks.events import EventLog, now_utc

SMALL = EventFiles(rotate_mb=0.001, keep=2, fsync="never")  # 1,048 bytes: about seven lines


def sequences(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for file in (*rotated_files(path), path) if file.exists()
            for line in file.read_text().splitlines()]


def fill(path: Path, policy: EventFiles, count: int) -> None:
    log = EventLog(path, policy)
    for _ in range(count):
        assert log.write("faces", {})
    log.close()


def test_a_full_file_gets_a_name_of_its_own(tmp_path: Path) -> None:
    fill(tmp_path / "e.jsonl", EventFiles(rotate_mb=0.001, keep=0), 40)
    assert len(rotated_files(tmp_path / "e.jsonl")) >= 4
    assert sequences(tmp_path / "e.jsonl") == list(range(40))
    assert max(f.stat().st_size for f in tmp_path.iterdir()) <= 1049


def test_a_rotated_file_is_named_by_its_first_event(tmp_path: Path) -> None:
    fill(tmp_path / "e.jsonl", SMALL, 40)
    for file in rotated_files(tmp_path / "e.jsonl"):
        assert json.loads(file.read_text().splitlines()[0])["seq"] == int(file.suffix[1:])


def test_the_oldest_files_go(tmp_path: Path) -> None:
    fill(tmp_path / "e.jsonl", SMALL, 100)
    assert len(rotated_files(tmp_path / "e.jsonl")) == 2
    found = sequences(tmp_path / "e.jsonl")
    assert found == list(range(found[0], 100)) and found[0] > 60


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    for name in ("e.jsonl.1", "e.jsonl.backup", "f.jsonl.000000000000", "e.jsonl.00000000000x"):
        (tmp_path / name).touch()
    fill(tmp_path / "e.jsonl", SMALL, 100)
    assert len(list(tmp_path.iterdir())) == 4 + 3


def test_numbers_go_on_where_the_current_file_is_gone_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    fill(path, EventFiles(rotate_mb=0.001, keep=0), 40)
    last = json.loads(rotated_files(path)[-1].read_text().splitlines()[-1])["seq"]
    path.write_bytes(b"")  # as a power cut leaves it
    assert EventFile(path, SMALL).next_sequence == last + 1
    path.unlink()  # killed between two steps of a rotation
    assert next_sequence(path) == last + 1
    assert EventLog(path, SMALL).write("start", {})
    assert sequences(path) == list(range(last + 2))


def test_an_old_file_is_rotated_at_the_next_event(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    written = (datetime.now(timezone.utc) - timedelta(hours=3)).isoformat()
    path.write_text(json.dumps({"seq": 7, "time": written}, separators=(",", ":")) + "\n")
    fill(path, EventFiles(rotate_hours=4), 1)
    assert rotated_files(path) == []
    fill(path, EventFiles(rotate_hours=2), 1)
    assert [f.name for f in rotated_files(path)] == ["e.jsonl.000000000007"]


@pytest.mark.parametrize("written", ["2999-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "yesterday", None])
def test_a_clock_that_was_wrong_costs_at_most_a_rotation(tmp_path: Path, written: str | None) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"seq": 7, "time": written}, separators=(",", ":")) + "\n")
    fill(path, EventFiles(), 3)
    assert sequences(path) == [7, 8, 9, 10]
    assert len(rotated_files(path)) == (written == "1970-01-01T00:00:00Z")


@pytest.mark.parametrize(("fsync", "synced"), [("always", 3), ("never", 0)])
def test_the_policy_says_when_bytes_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str, synced: int
) -> None:
    calls: list[int] = []
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync=fsync))  # type: ignore[arg-type]
    monkeypatch.setattr(os, "fsync", calls.append)
    for _ in range(3):
        log.write("faces", {})
    assert len(calls) == synced
    log.close()
    assert len(calls) == synced + 1  # whatever the policy, a clean end is flushed


def test_the_interval_flushes_beside_the_frames_not_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="interval", fsync_seconds=0.1))
    calls: list[int] = []

    def slow_disk(handle: int) -> None:
        calls.append(handle)
        time.sleep(0.5)

    monkeypatch.setattr(os, "fsync", slow_disk)
    time.sleep(0.11)
    assert log.write("faces", {}) and calls == calls[:1]
    while not calls:
        time.sleep(0.01)
    before = time.process_time()
    assert log.write("faces", {}) and len(calls) == 1  # the flush in work is waited for by nobody
    assert time.process_time() - before < 0.5
    monkeypatch.undo()
    log.close()


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_event_is_flushed_in_time_though_no_other_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="interval", fsync_seconds=0.1))
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    log.write("faces", {})
    wait_until(lambda: calls)
    time.sleep(0.3)
    assert len(calls) == 1, "what is flushed is not flushed again"
    log.close()


def test_a_flush_that_fails_beside_the_frames_is_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="interval", fsync_seconds=0.1))

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        assert log._file is not None
        with log._file._sync._turn:  # both before the thread looks, however busy the machine
            assert log.write("faces", {}) and log.write("faces", {})
        wait_until(lambda: log.trouble)
    assert (log.trouble, log.unsynced, log.lost) == ("Input/output error", 2, 0)
    assert "2 events" in caplog.text
    log.write("faces", {})
    wait_until(lambda: not log.trouble)  # a disk that flushes again is well, and what it did not flush stays counted
    log.close()
    assert log.unsynced == 2 and sequences(tmp_path / "e.jsonl") == [0, 1, 2]


def test_a_last_flush_that_fails_is_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="interval", fsync_seconds=60))
    log.write("end", {})

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    log.close()
    assert log.unsynced == 1 and "Input/output error" in caplog.text


def test_what_waits_reaches_the_disk_though_no_event_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="never"))

    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        assert not log.write("faces", {})
        log.turn()
    assert log.trouble == "No space left on device" and sequences(tmp_path / "e.jsonl") == []
    log._retry_at = 0.0  # a second later
    log.turn()
    assert (log.trouble, sequences(tmp_path / "e.jsonl")) == ("", [0])
    log.close()


def test_a_line_that_the_disk_did_not_flush_comes_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "e.jsonl", EventFiles(fsync="always"))
    log.write("start", {})

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        assert not log.write("faces", {})
    log.close()
    assert sequences(tmp_path / "e.jsonl") == [0, 1]


@pytest.mark.parametrize("values", [{"rotate_mb": -1}, {"keep": 1001}, {"fsync_seconds": 0}, {"rotate_hours": 9000}])
def test_a_policy_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        EventFiles(**values)  # type: ignore[arg-type]


def test_a_file_that_somebody_took_away_is_begun_anew_when_it_is_to_rotate(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    file = EventFile(path, EventFiles(rotate_mb=0.001, keep=2))
    line = json.dumps({"seq": 0, "pad": "x" * 900}).encode() + b"\n"
    file.append(line, 0)
    path.unlink()
    file.append(line, 1)  # to rotate, and there is nothing to rename
    file.close()
    assert path.read_bytes() == line


def test_a_rotation_that_the_folder_refuses_goes_on_in_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                    ) -> None:
    def rename(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    path = tmp_path / "e.jsonl"
    file = EventFile(path, EventFiles(rotate_mb=0.001, keep=2))
    line = json.dumps({"seq": 0, "pad": "x" * 900}).encode() + b"\n"
    file.append(line, 0)
    monkeypatch.setattr(os, "rename", rename)
    for _ in range(3):
        file.append(line, 1)
    file.close()
    assert path.read_bytes() == line * 4


def test_without_a_thread_left_the_sync_is_done_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    file = EventFile(tmp_path / "e.jsonl", EventFiles(fsync="interval", fsync_seconds=0.1))
    for _ in range(3):
        time.sleep(0.11)
        file.append(b'{"seq": 0}\n', 0)
    file.close()
    assert (tmp_path / "e.jsonl").read_bytes().count(b"\n") == 3


def damaged(path: Path, head: bytes, lines: int = 60) -> int:
    """Write events, and something else over the first of them; return how many stay whole."""
    fill(path, EventFiles(), lines)
    content = path.read_bytes()
    path.write_bytes(head + content[len(head):])
    return len(content[len(head):].splitlines()) - 1


@pytest.mark.parametrize("head", [b"\0" * 4096, b"\x93\xfe\r\n{" * 819, b"\0" * 8 + b"\xff" * 600], ids=len)
@pytest.mark.parametrize("torn", [b"", b'{"seq":60,"ev', b"\0" * 300])
def test_a_file_whose_beginning_is_damaged_is_gone_on_with(tmp_path: Path, head: bytes, torn: bytes) -> None:
    path = tmp_path / "e.jsonl"
    whole = damaged(path, head)
    before = path.read_bytes()
    path.write_bytes(before + torn)
    fill(path, EventFiles(), 1)
    assert path.read_bytes().startswith(before) and json.loads(path.read_bytes().splitlines()[-1])["seq"] == 60
    assert path.read_bytes()[len(head):].count(b"\n") == whole + 1 + 1


@pytest.mark.parametrize("content", [
    b'diary\n{"seq":1,"name":"mine"}\n', b'[\n{"seq":3}\n', b"\0" * 600 + b"CD001\n" * 30, b"\0\0\0\x18ftypisom",
    b'title\n{"seq":1,"event":"start","boot":"b","run":"r","time":"t","monotonic":1.5}\nthe end\n'])
def test_another_kind_of_file_stays_as_it_was(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.jsonl").write_bytes(content)
    with pytest.raises(BadInput, match="another kind of file"):
        EventFile(tmp_path / "e.jsonl", EventFiles())
    assert (tmp_path / "e.jsonl").read_bytes() == content


@pytest.mark.parametrize("rest", [b"", b'0.25}]}', b'0.25}]}\n'])
def test_zeros_with_at_most_the_rest_of_a_line_are_begun_anew(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"\0" * 4096 + rest)
    fill(tmp_path / "e.jsonl", EventFiles(), 1)
    assert sequences(tmp_path / "e.jsonl") == [0]


def test_a_damaged_file_is_rotated_by_its_first_whole_event_and_over_no_other(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    (tmp_path / "e.jsonl.000000000000").write_text("earlier\n")
    whole = damaged(path, b"\0" * 4096)
    fill(path, EventFiles(rotate_mb=0.001), 1)
    assert [f.name for f in rotated_files(path)] == ["e.jsonl.000000000000", f"e.jsonl.{60 - whole:012d}"]
    assert (tmp_path / "e.jsonl.000000000000").read_text() == "earlier\n"


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """As `mien purge` holds it: the lock, then the file is deleted, then the lock goes."""
    path = tmp_path / "e.jsonl"
    fill(path, EventFiles(), 3)
    holding = os.open(path, os.O_RDONLY)
    fcntl.flock(holding, fcntl.LOCK_EX)

    def purge() -> None:
        path.unlink()
        os.close(holding)

    timer = threading.Timer(0.3, purge)
    timer.start()
    log = EventLog(path)
    timer.join()
    assert log.write("start", {}) and sequences(path) == [0], "not into the file that is gone"
    log.close()


def test_a_file_that_is_deleted_between_opening_and_locking_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "e.jsonl", fcntl.flock
    fill(path, EventFiles(), 3)

    def purged_before(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", purged_before)
    log = EventLog(path)
    assert log.write("start", {}) and sequences(path) == [0]
    log.close()


def test_a_file_that_another_took_meanwhile_costs_a_running_stream_no_wait(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    log = EventLog(path)
    path.unlink()
    other = EventFile(path, EventFiles())
    log.turn()
    assert not log.write("faces", {}) and "in use" in log.trouble
    with pytest.raises(Unavailable):
        EventFile(path, EventFiles())
    other.close()
    log._retry_at = 0.0  # a second later
    assert log.write("faces", {}) and sequences(path) == [0, 1] and not log.trouble
    log.close()


def line_of(boot: int, monotonic: float, sequence: int) -> str:
    return json.dumps({"seq": sequence, "event": "faces", "boot": f"b{boot}", "run": "r", "time": now_utc(),
                       "monotonic": monotonic}, separators=(",", ":"))


@pytest.mark.parametrize(("hours", "rotated"), [(29, 1), (31, 0)])
def test_a_clock_that_begins_anew_with_each_boot_rotates_by_the_time_in_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float, rotated: int
) -> None:
    """Three boots of ten hours; the clock says of the first event, and of the last, that it was just now."""
    monkeypatch.setattr(privacy, "now", lambda: datetime(1970, 1, 1, 0, 1, tzinfo=timezone.utc))
    path = tmp_path / "e.jsonl"
    path.write_text("".join(line_of(boot, 30.0 + at * 3600, 3 * boot + at // 5) + "\n"
                            for boot in range(3) for at in (0, 5, 10)))
    fill(path, EventFiles(rotate_hours=hours), 1)
    assert len(rotated_files(path)) == rotated
