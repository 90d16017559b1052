"""Events: each line is whole or absent, whatever the disk or a power cut did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from runtime.camera.source import Frame
from runtime.errors import UNAVAILABLE, BadInput, Unavailable
from runtime.expressions import Expression
from runtime.faces.detector import Faces
from runtime.sinks.events import EventLog

ROOT = Path(__file__).resolve().parents[3]
FRAME = Frame(np.zeros((48, 64, 3), np.uint8), 12, 0.48)
FACES = Faces(np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32), None, np.array([0.9, 0.8], np.float32))
HAPPY = Expression("happy", 0.75, np.array([0.75, 0.25], np.float32))
LABELS = ("happy", "sad")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_sequence_boot_and_both_clocks(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.jsonl")
    log.write("start", {"model": "tiny"})
    log.close()
    (line,) = lines(tmp_path / "e.jsonl")
    assert list(line)[:6] == ["seq", "event", "boot", "run", "time", "monotonic"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
    written = datetime.fromisoformat(str(line["time"]).replace("Z", "+00:00"))
    assert abs((datetime.now().astimezone() - written).total_seconds()) < 60


def test_a_face_is_written_with_box_score_and_every_probability(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.jsonl")
    log.write_faces(FRAME, FACES, [HAPPY, None], LABELS)
    log.close()
    (line,) = lines(tmp_path / "e.jsonl")
    assert line["frame"] == 12
    assert line["faces"] == [{"box": [1, 2, 30, 40], "score": 0.9, "label": "happy", "probability": 0.75,
                              "probabilities": {"happy": 0.75, "sad": 0.25}}]


@pytest.mark.parametrize("expressions", [[], [None, None]])
def test_a_frame_with_nothing_read_is_no_event(tmp_path: Path, expressions: list[None]) -> None:
    log = EventLog(tmp_path / "e.jsonl")
    log.write_faces(FRAME, FACES, expressions, LABELS)
    log.close()
    assert (tmp_path / "e.jsonl").read_bytes() == b""


def test_a_second_run_appends_and_counts_on(tmp_path: Path) -> None:
    for _ in range(3):
        log = EventLog(tmp_path / "e.jsonl")
        log.write("start", {})
        log.write("end", {})
        log.close()
    assert [line["seq"] for line in lines(tmp_path / "e.jsonl")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("torn", [
    b'{"seq":2,"event":"fac', b'{"seq":2}', b"\0" * 700, b'{"seq":2,"ev\n', b"\xff\xfe\n{}\n"])
def test_a_torn_tail_is_cut_away_and_counted(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "e.jsonl"
    log = EventLog(path)
    log.write("start", {})
    log.write("end", {})
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    log = EventLog(path)
    log.write("start", {})
    log.close()
    assert log.repaired == 1
    assert path.read_bytes().startswith(whole)
    assert [line["seq"] for line in lines(path)] == [0, 1, 2]


def test_every_cut_of_a_file_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    log = EventLog(path)
    for _ in range(3):
        log.write_faces(FRAME, FACES, [HAPPY, HAPPY], LABELS)
    log.close()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        log = EventLog(path)
        log.write("end", {})
        log.close()
        found = lines(path)
        assert [line["seq"] for line in found] == list(range(len(found)))
        assert len(found) == whole[:length].count(b"\n") + 1


@pytest.mark.parametrize("content", [b"my diary\n", b"{}\n", b"\x89PNG\r\n", b'{"model": 1}'])
def test_a_file_that_holds_no_events_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="another kind of file"):
        EventLog(path)
    assert path.read_bytes() == content


def test_two_streams_never_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.sinks.events.IN_USE_SECONDS", 0.1)
    first = EventLog(tmp_path / "e.jsonl")
    with pytest.raises(Unavailable, match="in use by another") as caught:
        EventLog(tmp_path / "e.jsonl")
    assert caught.value.exit_code == UNAVAILABLE, "a supervisor tries again"
    first.close()
    EventLog(tmp_path / "e.jsonl").close()


def test_a_folder_is_no_events_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a file to append"):
        EventLog(tmp_path)


def test_a_full_device_loses_events_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(Path("/dev/full"))
    assert [log.write("faces", {}) for _ in range(5)] == [False] * 5
    log.close()
    assert (log.lost, len(caplog.records)) == (5, 1)
    assert "No space left" in caplog.text


def test_a_disk_that_fills_mid_line_keeps_whole_lines_and_goes_on(tmp_path: Path) -> None:
    # RLIMIT_FSIZE makes the kernel take part of a line and refuse the rest, as a full disk does; then it is lifted
    program = """
import resource, signal, sys
from pathlib import Path
from runtime.sinks.events import EventLog
log = EventLog(Path(sys.argv[1]), waiting=5)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
for _ in range(20):
    log.write("faces", {"padding": "x" * 50})
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
log.close()
"""
    path = tmp_path / "e.jsonl"
    subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, timeout=60,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = [line["seq"] for line in lines(path)]  # every line parses
    assert 5 < len(found) < 20
    assert found[-5:] == [15, 16, 17, 18, 19]  # what waited in memory; a gap shows a reader what was lost
    assert found[:-5] == list(range(len(found) - 5))


def test_no_pixel_reaches_the_file(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.jsonl")
    log.write_faces(FRAME, FACES, [HAPPY, HAPPY], LABELS)
    log.close()
    (line,) = lines(tmp_path / "e.jsonl")
    assert set(line) == {"seq", "event", "boot", "run", "time", "monotonic", "frame", "seconds", "faces"}


def test_without_a_file_events_reach_whoever_listens() -> None:
    heard: list[tuple[str, bytes]] = []
    log = EventLog(None)
    log.listeners.append(lambda event, line: heard.append((event, line)))
    assert log.write("start", {}) and log.write("end", {})
    assert [(event, json.loads(line)["seq"]) for event, line in heard] == [("start", 0), ("end", 1)]


def test_each_run_has_an_id_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        log = EventLog(tmp_path / "e.jsonl")
        log.write("start", {})
        log.write("end", {})
        log.close()
    first, also_first, second, _ = (line["run"] for line in lines(tmp_path / "e.jsonl"))
    assert first == also_first != second


def test_what_comes_after_the_end_is_lost_and_counted(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e.jsonl")
    log.write("end", {})
    log.close()
    log.close()
    assert not log.write("late", {})
    assert (log.lost, len(lines(tmp_path / "e.jsonl"))) == (1, 1)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_file_that_is_taken_away_is_noticed_before_it_rotates(how: str, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    log = EventLog(path)
    log.write("x", {})
    log.turn()
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "aside")
    if how == "replaced":
        path.write_text('{"seq":0,"event":"x"}\n')
    log.turn()
    assert log.write("x", {}) and not log.trouble
    log.close()
    assert [event["seq"] for event in lines(path)] == ([0, 1] if how == "replaced" else [1])
