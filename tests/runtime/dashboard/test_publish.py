"""What the stream leaves for its page: bounded, without pictures or places, and never at the stream's cost."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from dashboard_page import LABELS, expression, publish, scene_with, snapshot_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.camera.source import Frame
from runtime.dashboard.board import parse_status
from runtime.dashboard.channel import PREVIEW, STATUS, STATUS_BYTES
from runtime.dashboard.publish import FACES, Publisher
from runtime.dashboard.settings import DashboardConfig
from runtime.faces.detector import Faces
from runtime.pipeline import Scene
from runtime.supervision.health import Health


def status_in(folder: Path) -> dict[str, object]:
    status = parse_status((folder / STATUS).read_bytes())
    assert status is not None
    return status


def test_a_status_says_how_the_stream_is(tmp_path: Path) -> None:
    publish(tmp_path, ["happy", "sad"])
    status = status_in(tmp_path)
    assert status["health"] == {"state": "running", "troubles": {}}
    assert [face["label"] for face in status["faces"]] == ["happy", "sad"]  # type: ignore[attr-defined]
    assert status["engine"]["precision"] == "int8" and status["stages"]["detect"]["p95"] == 12.0  # type: ignore[index]
    assert status["drift"]["agreement"] == 0.975  # type: ignore[index]


def test_a_status_holds_no_place_and_no_picture(tmp_path: Path) -> None:
    publish(tmp_path, ["happy"])
    assert set(status_in(tmp_path)["faces"][0]) == {  # type: ignore[index]
        "track", "label", "probability", "probabilities"}
    assert [p.name for p in tmp_path.iterdir()] == [STATUS]


def test_a_preview_is_left_where_asked_for(tmp_path: Path) -> None:
    publish(tmp_path, ["happy"], preview=True)
    assert (tmp_path / PREVIEW).read_bytes()[:2] == b"\xff\xd8"


def test_a_face_that_was_never_read_is_counted_but_not_shown(tmp_path: Path) -> None:
    with_two = scene_with(["happy", "sad"])
    publisher = Publisher(DashboardConfig(port=1, folder=tmp_path), Health(), {})
    publisher.saw(Scene(with_two.frame, with_two.faces, [None, expression("sad")], (0, 1), [None, expression("sad")]))
    status = status_in(tmp_path)
    assert (status["faces_seen"], len(status["faces"])) == (2, 1)  # type: ignore[arg-type]


def test_frames_between_two_writes_cost_no_file(tmp_path: Path) -> None:
    publisher = publish(tmp_path, ["happy"])
    before = (tmp_path / STATUS).stat().st_ino, (tmp_path / STATUS).read_bytes()
    for index in range(20):
        publisher.saw(scene_with(["sad"], index))
    assert ((tmp_path / STATUS).stat().st_ino, (tmp_path / STATUS).read_bytes()) == before


def test_faces_go_when_no_frame_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = publish(tmp_path, ["happy"])
    later = time.monotonic() + 10
    monkeypatch.setattr("runtime.dashboard.publish.time.monotonic", lambda: later)
    publisher.show(snapshot_of(), "0", LABELS)
    assert status_in(tmp_path)["faces"] == []


def test_counts_that_are_shown_all_the_time_keep_no_frame_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, now = publish(tmp_path, ["happy"]), time.monotonic()
    for turn in range(8):  # a stream of one frame a second: counts come as often
        moment = now + 1 + turn
        monkeypatch.setattr("runtime.dashboard.publish.time.monotonic", lambda moment=moment: moment)
        publisher.show(snapshot_of(), "0", LABELS)
        publisher.saw(scene_with(["sad" if turn % 2 else "fear"]))
        publisher.show(snapshot_of(), "0", LABELS)
        if turn:
            assert status_in(tmp_path)["faces"][0]["label"] == ("sad" if turn % 2 else "fear")  # type: ignore[index]


def test_a_folder_that_takes_nothing_is_told_once_and_costs_the_stream_nothing(tmp_path: Path) -> None:
    told = []
    health = Health(tell=lambda change: told.append(change.troubles))
    health.started()
    publisher = publish(tmp_path / "c", ["happy"], health)
    for name in (STATUS, PREVIEW):
        (tmp_path / "c" / name).unlink(missing_ok=True)
        (tmp_path / "c" / name).mkdir()
    for _ in range(3):
        publisher._due = 0.0
        publisher.saw(scene_with(["happy"]))
    assert publisher.failed == 3 and "dashboard" in health.troubles and len(told) == 2
    (tmp_path / "c" / STATUS).rmdir()
    publisher._due = 0.0
    publisher.saw(scene_with(["happy"]))
    assert health.troubles == {}


def test_a_folder_that_is_gone_is_a_trouble_and_no_error(tmp_path: Path) -> None:
    publisher = publish(tmp_path / "c", ["happy"])
    (tmp_path / "c" / STATUS).unlink()
    (tmp_path / "c").rmdir()
    publisher._due = 0.0
    publisher.saw(scene_with(["happy"]))
    assert publisher.failed == 1


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    publisher = publish(tmp_path, ["happy"], preview=True)
    publisher.close()
    publisher.close()
    assert list(tmp_path.iterdir()) == [] and len(os.listdir("/proc/self/fd")) == handles


def test_what_an_earlier_stream_left_is_gone_at_the_start(tmp_path: Path) -> None:
    for name in (STATUS, PREVIEW):
        (tmp_path / name).write_bytes(b"{}")
    tmp_path.chmod(0o700)
    Publisher(DashboardConfig(port=1, folder=tmp_path), Health(), {})
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 64), st.integers(0, 40), st.text(max_size=500))
def test_a_status_is_bounded_whatever_the_crowd_and_the_troubles(
    tmp_path: Path, people: int, troubles: int, text: str
) -> None:
    health = Health()
    for number in range(troubles):
        health.report(f"{number} {text}", text or "x")
    publisher = Publisher(DashboardConfig(port=1, folder=tmp_path), health, {})
    publisher.show(snapshot_of(), text, LABELS)
    publisher._due = 0.0
    read = [expression("happy")] * people
    boxes = np.tile(np.array([[1.0, 1, 20, 20]]), (people, 1))
    publisher.saw(Scene(Frame(np.zeros((60, 80, 3), np.uint8), 0, 0.0), Faces(boxes, None, np.ones(people)), read,
                        tuple(range(people)), read))
    assert publisher.failed == 0 and (tmp_path / STATUS).stat().st_size <= STATUS_BYTES
    assert len(json.loads((tmp_path / STATUS).read_bytes())["faces"]) == min(people, FACES)
    publisher.close()
