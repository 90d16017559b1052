"""What every viewer is shown, made of a stream's real files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from dashboard_page import publish, snapshot_of, write_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.dashboard.board import EVENTS, SHARES_EVERY, STALE_SECONDS, Board, parse_status
from runtime.dashboard.channel import STATUS
from runtime.sinks.events import EventLog


def shown(board: Board, kind: str) -> Any:
    return json.loads(board.messages[kind][1])


def counted(board: Board, window: str = "day") -> dict[str, int]:
    return {label: sum(counts) for label, counts in shown(board, "shares")["windows"][window]["labels"].items()}


def test_without_a_stream_the_page_says_so(tmp_path: Path) -> None:
    board = Board(tmp_path, None)
    board.tick()
    assert shown(board, "state") == {"alive": False, "age_seconds": None, "history": True}


def test_a_stream_is_alive_while_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, ["happy"])
    board = Board(tmp_path, None)
    board.tick()
    assert shown(board, "state")["alive"] and shown(board, "state")["faces"][0]["label"] == "happy"
    later = time.monotonic() + STALE_SECONDS + 1
    monkeypatch.setattr("runtime.dashboard.board.time.monotonic", lambda: later)
    board.tick()
    assert not shown(board, "state")["alive"] and shown(board, "state")["age_seconds"] >= STALE_SECONDS


def test_a_status_of_an_earlier_boot_is_no_sign_of_life(tmp_path: Path) -> None:
    publish(tmp_path, ["happy"])
    status = json.loads((tmp_path / STATUS).read_bytes())
    (tmp_path / STATUS).write_text(json.dumps({**status, "boot": "another"}))
    board = Board(tmp_path, None)
    board.tick()
    assert not shown(board, "state")["alive"]


def test_shares_are_rebuilt_from_the_events_files_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    write_events(path, ["happy", "happy", "sad"])
    board = Board(tmp_path, path)
    board.load()
    board.tick()
    assert counted(board) == {"happy": 2, "sad": 1}
    write_events(path, ["sad"])
    for _ in range(SHARES_EVERY):
        board.tick()
    assert counted(board) == counted(board, "minute") == {"happy": 2, "sad": 2}


def test_events_of_an_earlier_boot_keep_their_age_by_the_wall_clock(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    lines = []
    for age in (30, 7200, 2 * 86400, -500):  # the last lies in the future: a clock that was set back
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - age))
        lines.append({"seq": len(lines), "event": "faces", "boot": "another", "time": when, "monotonic": 5.0,
                      "faces": [{"label": "happy"}]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    board = Board(tmp_path, path)
    board.load()
    board.tick()
    assert (counted(board, "minute"), counted(board, "hour"), counted(board)) == (
        {"happy": 1}, {"happy": 1}, {"happy": 2})


def test_a_clock_that_jumps_moves_nothing_of_this_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.jsonl"
    write_events(path, ["happy"])
    year = time.time() + 365 * 86400
    monkeypatch.setattr("runtime.dashboard.board.time.time", lambda: year)
    board = Board(tmp_path, path)
    board.load()
    board.tick()
    assert counted(board, "minute") == {"happy": 1}


def test_without_an_events_file_the_streams_own_counts_serve(tmp_path: Path) -> None:
    publisher = publish(tmp_path, ["happy"])
    board = Board(tmp_path, None)
    board.tick()
    more = snapshot_of()
    more.tally.expressions["happy"] += 7
    publisher._written = 0.0
    publisher.show(more, "0", ())
    for _ in range(SHARES_EVERY):
        board.tick()
    assert counted(board) == {"happy": 7}  # what was counted before the page began is not put into this minute


def test_the_smoothed_label_counts_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(json.dumps({
        "seq": 0, "event": "faces", "boot": "x", "time": "2999-01-01T00:00:00Z", "faces": []}) + "\n")
    log = EventLog(tmp_path / "e.jsonl", None)
    log.write("faces", {"faces": [{"label": "sad", "steady": "happy"}, {"label": "sad", "steady": None}]})
    log.close()
    board = Board(tmp_path, tmp_path / "e.jsonl")
    board.load()
    board.tick()
    assert counted(board) == {"happy": 1, "sad": 1}


def test_the_last_events_are_in_words_newest_first_and_few(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.jsonl", None)
    for number in range(EVENTS + 5):
        log.write("health", {"state": "degraded", "troubles": {"events": f"disk {number}"}})
    log.close()
    board = Board(tmp_path, tmp_path / "e.jsonl")
    board.load()
    board.tick()
    events = shown(board, "events")
    assert len(events) == EVENTS and events[0]["seq"] == EVENTS + 4
    assert events[0]["text"] == f"state: degraded; troubles: events disk {EVENTS + 4}"


def test_a_message_is_new_only_when_something_is(tmp_path: Path) -> None:
    board = Board(tmp_path, tmp_path / "e.jsonl")
    board.load()
    for _ in range(5):
        board.tick()
    assert board.messages["events"][0] == 2 and board.messages["shares"][0] == 2 and board.messages["state"][0] == 5


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=100), st.recursive(
    st.none() | st.floats() | st.text(max_size=5), lambda inner: st.dictionaries(
        st.sampled_from(["schema", "monotonic", "boot", "x"]), inner | st.just(1), max_size=4)).map(
            lambda value: json.dumps(value).encode())))
def test_no_bytes_are_a_status_by_accident(content: bytes) -> None:
    status = parse_status(content)
    assert status is None or (status["schema"] == 1 and json.dumps(status, allow_nan=False))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["seq", "time", "boot", "monotonic", "faces", "state"]), st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "steady"]), inner),
    max_leaves=6)), st.sampled_from(["faces", "health", ""]))
def test_no_event_is_an_error(tmp_path: Path, fields: dict[str, Any], event: str) -> None:
    (tmp_path / "e.jsonl").write_text(json.dumps({**fields, "event": event}) + "\n")
    board = Board(tmp_path, tmp_path / "e.jsonl")
    board.load()
    board.tick()
    assert shown(board, "shares")["windows"].keys() == {"minute", "hour", "day"}
