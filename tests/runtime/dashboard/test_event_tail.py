"""Following events files from the outside: each event once, whatever is rotated, torn, or written there."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dashboard_page import write_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.dashboard import event_tail
from runtime.dashboard.event_tail import EventTail
from runtime.sinks.event_files import EventFiles
from runtime.sinks.events import EventLog


def numbers(events: list[dict[str, object]]) -> list[object]:
    return [event["seq"] for event in events]


def everything(tail: EventTail) -> list[dict[str, object]]:
    found = []
    while fresh := tail.fresh():
        found += fresh
    return found


def test_events_come_once_and_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    tail = EventTail(path)
    assert tail.fresh() == []
    write_events(path, ["happy"])
    assert numbers(everything(tail)) == [0, 1]
    write_events(path, ["sad"])
    assert numbers(everything(tail)) == [2, 3]


def test_every_event_comes_once_through_rotations(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    log = EventLog(path, EventFiles(rotate_mb=0.002, keep=0, fsync="never"))
    for number in range(30):
        log.write("camera", {"kind": f"before {number}"})
    tail = EventTail(path)
    seen = list(tail.history()) + everything(tail)
    for number in range(100):
        log.write("camera", {"kind": f"after {number}"})
        if number % 3 == 0:
            seen += everything(tail)
    log.close()
    seen += everything(tail)
    assert numbers(seen) == list(range(130)) and len(list(tmp_path.iterdir())) > 5


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    tail = EventTail(path)
    path.write_bytes(b'{"seq":0,"eve')
    assert tail.fresh() == []
    with open(path, "ab") as file:
        file.write(b'nt":"start"}\n')
    assert numbers(tail.fresh()) == [0]


def test_a_torn_line_that_was_cut_away_costs_no_event(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"seq":0,"event":"start"}\n{"seq":1,"ev')
    tail = EventTail(path)
    assert numbers(everything(tail)) == [0]
    os.truncate(path, 26)
    assert tail.fresh() == []
    with open(path, "ab") as file:
        file.write(b'{"seq":1,"event":"end"}\n')
    assert numbers(everything(tail)) == [1]


def test_a_file_that_was_removed_is_followed_when_it_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write_events(path, ["happy"])
    tail = EventTail(path)
    assert len(everything(tail)) == 2
    path.unlink()
    assert tail.fresh() == []
    path.write_text(json.dumps({"seq": 0, "event": "start"}) + "\n")
    assert numbers(everything(tail)) == [0]


def test_a_line_without_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b"x" * (3 * event_tail.PIECE) + b'\n{"seq":7,"event":"start"}\n')
    tail = EventTail(path)
    seen = []
    for _ in range(5):
        seen += tail.fresh()
        assert len(tail._rest) <= event_tail.LINE
    assert numbers(seen) == [7]


def test_no_more_history_is_read_than_the_bound(tmp_path: Path, monkeypatch: object) -> None:
    path = tmp_path / "e.jsonl"
    for first in (0, 100, 200):
        old = path.with_name(f"e.jsonl.{first:012}")
        old.write_text("".join(json.dumps({"seq": first + n, "event": "x"}) + "\n" for n in range(100)))
    size = old.stat().st_size
    monkeypatch.setattr(event_tail, "HISTORY", 2 * size + 10)  # type: ignore[attr-defined]
    assert numbers(list(EventTail(path).history())) == list(range(100, 300))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_no_bytes_are_an_error(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b"\n".join(lines) + b'\n{"seq":1,"event":"end"}\n')
    tail = EventTail(path)
    found = everything(tail)
    tail.close()
    assert found and all(isinstance(event["event"], str) for event in found)
