"""mien purge: lists first, deletes exactly what the configuration names, follows no link, disturbs no stream."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from dashboard_page import publish, write_events

from mien import main
from runtime.dashboard.board import Board
from runtime.errors import BadInput, MienError, Unavailable
from runtime.purge import delete, kinds_of, look, no_stream, seconds_of
from runtime.sinks.event_files import EventFiles
from runtime.sinks.events import EventLog
from runtime.sinks.video import VideoFileWriter
from runtime.stream_config import StreamConfig, load_config
from runtime.supervision.instance_lock import only_instance

OURS = ("e.jsonl", "e.jsonl.000000000007", "v.mp4", ".v.mp4.0a1b2c3d.mp4", "v.000002.mp4",
        "state/ranges.hist", "state/.ranges.hist.0a1b2c3d.hist", "state/ranges-0a1b2c3d4e5f.hist",
        "state/ranges-damaged.hist", "state/drift-camera.json", "state/.drift-engine.json.0a1b2c3d.json",
        "state/drift-engine.json", "state/drift-camera-damaged.json",
        "page/status.json", "page/preview.jpg",
        "page/.preview.jpg.tmp")
OTHERS = ("e.jsonl.bak", "e.jsonlx", "xe.jsonl", "e.jsonl.00000000000a", "v.mp4.txt", "v.2.mp4", "w.mp4", ".v.mp4.tmp",
          "state/engine-failures.json", "state/ranges.hist.old", "state/ranges-old.hist",
          "state/drift-camera-old.json", "page/status.json.bak", "other/e.jsonl")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in OURS + OTHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"seq":1}\n')
    path = tmp_path / "s.yaml"
    path.write_text("{source: '0', events: e.jsonl, video: v.mp4, supervision: {state: state}, "
                    "dashboard: {port: 8765, folder: page}}")
    return path


def there(folder: Path) -> set[str]:
    """Return every file's name, but for the configuration and the lock, which hold nothing of people."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()} - {"s.yaml", "state/stream.lock"}


def test_without_yes_everything_is_listed_and_stays(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--config", str(config), "--json"]) == 0
    said = capsys.readouterr()
    assert set(json.loads(said.out)["files"]) == {str(config.parent / name) for name in OURS}
    assert "nothing was deleted" in said.err and there(config.parent) == {*OURS, *OTHERS}


def test_with_yes_exactly_what_the_configuration_names_goes(config: Path) -> None:
    assert main(["purge", "--config", str(config), "--yes"]) == 0
    assert there(config.parent) == set(OTHERS)


def test_only_what_is_old_enough_goes(config: Path) -> None:
    week_ago = time.time() - 8 * 86400
    for name in OURS[1:3]:
        os.utime(config.parent / name, (week_ago, week_ago))
    assert main(["purge", "--config", str(config), "--older-than", "7d", "--yes"]) == 0
    assert {*OURS} - there(config.parent) == set(OURS[1:3])


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.000000000007", "v.mp4", "state/ranges.hist", "page/status.json"])
def test_a_link_is_not_followed_and_stays(name: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = config.parent / "other" / "e.jsonl"
    (config.parent / name).unlink()
    (config.parent / name).symlink_to(target)
    assert main(["purge", "--config", str(config), "--yes"]) == 0
    assert target.exists() and (config.parent / name).is_symlink()
    assert f"{config.parent / name}  is no regular file and stays" in capsys.readouterr().err


def test_another_name_of_the_same_bytes_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.link(config.parent / "v.mp4", config.parent / "kept.mp4")
    assert main(["purge", "--config", str(config), "--yes"]) == 0
    assert "v.mp4  has another name elsewhere" in capsys.readouterr().err and (config.parent / "kept.mp4").exists()


def test_what_took_a_listed_files_place_stays(config: Path) -> None:
    found, _ = look(kinds_of(load_config(config), {}))
    (config.parent / "new").write_text("another's")
    os.replace(config.parent / "new", config.parent / "v.mp4")
    with pytest.raises(MienError, match="1 that stay"):
        delete(found)
    assert there(config.parent) == {*OTHERS, "v.mp4"}, "the others are gone nevertheless"


def test_a_running_stream_is_not_disturbed(config: Path) -> None:
    loaded = load_config(config)
    log = EventLog(config.parent / "e.jsonl", EventFiles())
    try:
        with pytest.raises(Unavailable, match="expected no stream that writes"), no_stream(loaded, {}):
            pass
        assert main(["purge", "--config", str(config), "--yes"]) == 3
    finally:
        log.close()
    with only_instance(config.parent / "state"):
        assert main(["purge", "--config", str(config), "--yes"]) == 3
    assert there(config.parent) == {*OURS, *OTHERS}


def test_a_stream_that_only_records_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("{source: '0', video: v.avi}")
    (tmp_path / "v.avi").write_bytes(b"an earlier one")
    writer = VideoFileWriter(tmp_path / "v.avi", 10.0, keeps=True)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    before = there(tmp_path)
    assert main(["purge", "--config", str(tmp_path / "s.yaml"), "--yes"]) == 3 and there(tmp_path) == before
    writer.finish()
    assert main(["purge", "--config", str(tmp_path / "s.yaml"), "--yes"]) == 0 and there(tmp_path) == set()


def test_what_a_running_stream_no_longer_writes_may_go(config: Path) -> None:
    week_ago = time.time() - 8 * 86400
    os.utime(config.parent / OURS[1], (week_ago, week_ago))
    with only_instance(config.parent / "state"):
        assert main(["purge", "--config", str(config), "--older-than", "7d", "--yes"]) == 0
    assert not (config.parent / OURS[1]).exists()


def test_a_quiet_streams_own_files_stay_and_keep_nothing_else(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    week_ago = time.time() - 8 * 86400
    for name in OURS:
        os.utime(config.parent / name, (week_ago, week_ago))
    with only_instance(config.parent / "state"):
        assert main(["purge", "--config", str(config), "--older-than", "7d", "--yes"]) == 0
    assert {*OURS} - there(config.parent) == {"e.jsonl.000000000007", "v.mp4", "v.000002.mp4",
                                              "state/ranges-0a1b2c3d4e5f.hist", "state/ranges-damaged.hist"}
    assert f"{config.parent / 'e.jsonl'}  is a running stream's and stays" in capsys.readouterr().err


def test_a_service_whose_state_is_not_known_here_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    (tmp_path / "s.yaml").write_text("{source: '0', events: e.jsonl}")
    assert main(["purge", "--config", str(tmp_path / "s.yaml")]) == 0
    assert "histograms and what it learned were not looked for" in capsys.readouterr().err
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert main(["purge", "--config", str(tmp_path / "s.yaml")]) == 0
    assert "not looked for" not in capsys.readouterr().err


def test_a_dashboard_that_runs_lets_go_of_what_is_purged_and_is_to_be_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text("{source: '0', events: e.jsonl, dashboard: {port: 8765, folder: page}}")
    publish(tmp_path / "page", ["happy"])
    write_events(tmp_path / "e.jsonl", ["happy", "sad"])
    board = Board(tmp_path / "page", tmp_path / "e.jsonl")
    board.load()
    board.tick()
    before = board.messages["state"][1]
    assert main(["purge", "--config", str(tmp_path / "s.yaml"), "--yes"]) == 0
    board.tick()
    assert b'"alive":true' in before and b'"alive":false' in board.messages["state"][1]
    assert b"happy" not in board.messages["state"][1]
    held = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [name for name in held if name.startswith(str(tmp_path / "e.jsonl"))], "purged bytes are held by nobody"
    assert b"happy" in board.messages["shares"][1] and "restart it" in capsys.readouterr().err
    again = Board(tmp_path / "page", tmp_path / "e.jsonl")
    again.load()
    again.tick()
    assert b"happy" not in b"".join(content for _, content in again.messages.values())


def test_a_configuration_that_writes_nothing_names_nothing() -> None:
    assert kinds_of(StreamConfig("0"), {}) == []


def test_folders_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    config = StreamConfig("0", events=tmp_path / "a" / "e.jsonl", video=tmp_path / "b" / "v.mp4")
    assert look(kinds_of(config, {"STATE_DIRECTORY": str(tmp_path / "c")})) == ([], [])


@pytest.mark.parametrize(("age", "seconds"), [("30m", 1800), ("12h", 43200), ("7d", 604800)])
def test_an_age_is_read(age: str, seconds: float) -> None:
    assert seconds_of(age) == seconds


@pytest.mark.parametrize("age", ["", "7", "d", "-1d", "7w", "1.5d", "7 d"])
def test_an_age_that_is_none_is_refused(age: str) -> None:
    with pytest.raises(BadInput, match="such as 7d"):
        seconds_of(age)
