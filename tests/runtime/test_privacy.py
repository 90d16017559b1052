"""No picture is kept unless somebody said until when: what a real stream writes is searched, and recording expires."""

from __future__ import annotations

import base64
import json
import signal
import urllib.request
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_traces import traces_in
from kiosk import events_in, finish, has_event, start, wait_until, write_config
from loopback import free_port

from runtime import privacy
from runtime.errors import BadConfig
from runtime.privacy import RecordingConfig, require_permission, why_not_record
from runtime.sinks.video import VideoFileWriter
from runtime.stream import run_stream
from runtime.stream_config import StreamConfig, load_config

NOON = datetime(2026, 12, 24, 12, tzinfo=timezone.utc)
PURPOSE = "does the camera see the queue?"


@pytest.fixture
def scene(face_photo: np.ndarray) -> np.ndarray:
    return cv2.resize(face_photo, (204, 240), interpolation=cv2.INTER_AREA)


def test_nothing_that_a_stream_writes_is_a_picture(tmp_path: Path, tiny_model: Path, scene: np.ndarray) -> None:
    writer = VideoFileWriter(tmp_path / "in" / "clip.mp4", 25.0)
    for _ in range(25):
        writer.write(scene)
    writer.finish()
    out = tmp_path / "out"
    out.mkdir()
    events, port = out / "e.jsonl", free_port()
    config = write_config(
        tmp_path / "s.yaml", source=f"file://{tmp_path}/in/clip.mp4?loop=1", model=tiny_model, threads=1, events=events,
        threshold=0.0, metrics={"port": port}, dashboard={"port": free_port(), "folder": out / "page"},
        supervision={"state": out / "state"}, drift={"seconds_between": 0.0}, event_files={"rotate_mb": 0.02})
    homes = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"), str(out))  # strays land here too
    running = start(config, environment=homes)
    wait_until(lambda: has_event(events, "faces") and len(list(out.glob("e.jsonl.*"))) > 1, running)
    wait_until((out / "page" / "status.json").exists, running)
    seen = {"status.json": (out / "page" / "status.json").read_bytes()}
    for page in ("metrics", "livez", "readyz"):
        seen[page] = urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10).read()
    running.send_signal(signal.SIGTERM)
    code, summary, told = finish(running)
    assert code == 0 and summary["faces"] > 0
    seen |= {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file()} | {"told": told.encode()}
    crop = cv2.resize(scene[40:140, 50:150].mean(axis=2).astype(np.uint8), (64, 48))
    for name, content in seen.items():
        assert traces_in(content, [scene, cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY), crop]) == [], name
    faces = next(e for e in events_in(events) if e["event"] == "faces")["faces"]
    assert set(faces[0]) == {"track", "steady", "box", "score", "label", "probability", "probabilities"}


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp"])
def test_the_search_finds_an_encoded_picture(ending: str, scene: np.ndarray) -> None:
    content = bytes(cv2.imencode(ending, scene)[1])
    assert traces_in(b'{"seq":1}\n' + content, [])
    assert traces_in(b'{"picture":"' + base64.b64encode(content) + b'"}', [])
    assert traces_in(b"some header" + zlib.compress(content), [])


@pytest.mark.parametrize("form", ["colour", "grey", "floats", "base64", "deflated", "noisy"])
def test_the_search_finds_bare_pixels(form: str, scene: np.ndarray) -> None:
    grey = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)
    noisy = (grey + np.random.default_rng(0).normal(0, 3, grey.shape)).clip(0, 255).astype(np.uint8)
    made = {"colour": scene.tobytes(), "grey": grey.tobytes(), "floats": (grey / np.float32(255) * 9).tobytes(),
            "base64": base64.b64encode(grey.tobytes()), "deflated": zlib.compress(grey.tobytes()),
            "noisy": noisy.tobytes()}
    assert traces_in(b'{"seq":1}\n' + made[form], [scene, grey])


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(privacy, "now", lambda: moment)


@pytest.mark.parametrize(("until", "moment", "found"), [
    ("", NOON, "found no permission"),
    ("2026-12-24T11:59:59Z", NOON, "found one that ended"),
    ("2026-12-24T12:30:00+01:00", NOON, "found one that ended"),
    ("2027-03-01T00:00:00+00:00", NOON, "longer than 31 days"),
    ("2026-12-24T13:00:00+00:00", datetime(1970, 1, 1, tzinfo=timezone.utc), "a clock that is not set"),
])
def test_a_live_source_is_not_recorded_without_a_permission_that_holds_now(
    until: str, moment: datetime, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, moment)
    assert found in f"found {why_not_record(RecordingConfig(until, PURPOSE if until else ''))}"


@pytest.mark.parametrize(("until", "found"), [
    ("", "found no permission"), ("2027-03-01T00:00:00+00:00", "longer than 31 days")])
def test_a_permission_that_never_held_is_refused(until: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, NOON)
    with pytest.raises(BadConfig, match=found) as caught:
        require_permission(RecordingConfig(until, PURPOSE if until else ""))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_a_permission_holds_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, NOON)
    require_permission(RecordingConfig("2026-12-24T13:00:01+01:00", PURPOSE))


@pytest.mark.parametrize("section", [
    "{until: 2026-12-24T18:00:00+01:00}", "{purpose: because}", "{until: soon, purpose: because}",
    "{until: 2026-12-24T18:00:00, purpose: because}", "{until: 2026-12-24, purpose: because}",
    "{until: 2026-12-24T18:00:00+01:00, purpose: ' '}"])
def test_a_permission_without_an_end_or_a_purpose_is_refused(section: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"source: '0'\nrecording: {section}\n")
    with pytest.raises(BadConfig, match="until"):
        load_config(tmp_path / "s.yaml")


def test_yamls_own_moments_are_read_and_printed_as_written(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("{source: '0', recording: {until: 2026-12-24T18:00:00+01:00, purpose: trial}}")
    config = load_config(tmp_path / "s.yaml")
    assert config.recording.end() == datetime(2026, 12, 24, 17, tzinfo=timezone.utc)
    json.dumps(config.to_dict())
    (tmp_path / "t.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "t.yaml") == config


def live(tmp_path: Path, model: Path, recording: RecordingConfig, frames: int) -> StreamConfig:
    return StreamConfig("synthetic://?live=1&size=64x48", model=str(model), threads=1, events=tmp_path / "e.jsonl",
                        video=tmp_path / "v.avi", recording=recording, max_frames=frames)


def test_a_stream_of_a_live_source_with_a_video_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(BadConfig, match="permission to record"):
        run_stream(live(tmp_path, tiny_model, RecordingConfig(), 5))
    assert not list(tmp_path.glob("*v.avi*"))


def test_a_recording_ends_with_its_permission_and_the_stream_goes_on(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(10**6))
    monkeypatch.setattr(privacy, "now", lambda: NOON + timedelta(minutes=next(asked)))
    summary = run_stream(live(tmp_path, tiny_model, RecordingConfig("2026-12-24T12:20:00Z", PURPOSE), 60))
    told = [e for e in events_in(tmp_path / "e.jsonl") if e["event"] == "recording"]
    assert [(e["state"], e["purpose"]) for e in told] == [("began", PURPOSE), ("ended", PURPOSE)]
    assert summary.frames == 60
    video = cv2.VideoCapture(str(tmp_path / "v.avi"))
    assert 1 <= video.get(cv2.CAP_PROP_FRAME_COUNT) < 20


def test_a_restart_after_the_permissions_end_runs_without_the_video(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NOON)
    (tmp_path / "v.avi").write_bytes(b"of the run before")
    summary = run_stream(live(tmp_path, tiny_model, RecordingConfig("2026-12-24T11:00:00Z", PURPOSE), 5))
    told = [(e["state"], e["found"]) for e in events_in(tmp_path / "e.jsonl") if e["event"] == "recording"]
    assert summary.frames == 5 and told == [("ended", "one that ended at 2026-12-24T11:00:00Z")]
    assert [p.read_bytes() for p in tmp_path.glob("*v*.avi")] == [b"of the run before"]


def test_a_restart_keeps_the_recording_of_the_run_before_and_names_what_a_killed_one_left(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at(monkeypatch, NOON)
    config = live(tmp_path, tiny_model, RecordingConfig("2026-12-24T13:00:00Z", PURPOSE), 5)
    run_stream(config)
    first = (tmp_path / "v.avi").read_bytes()
    (tmp_path / ".v.avi.0a1b2c3d.avi").write_bytes(first)
    (tmp_path / ".v.avi.0a1b2c3e.avi").write_bytes(b"")
    run_stream(config)
    told = [(e["state"], e.get("file")) for e in events_in(tmp_path / "e.jsonl") if e["event"] == "recording"]
    assert told[1:] == [("recovered", "v.000002.avi"), ("removed", ".v.avi.0a1b2c3e.avi"), ("began", None)]
    assert (tmp_path / "v.avi").read_bytes() == (tmp_path / "v.000002.avi").read_bytes() == first
    assert sorted(p.name for p in tmp_path.glob("*v*.avi")) == ["v.000002.avi", "v.000003.avi", "v.avi"]
    assert caplog.text.count("a killed stream left a recording") == 2


def test_a_permission_that_ended_holds_for_every_name(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NOON)
    run_stream(live(tmp_path, tiny_model, RecordingConfig("2026-12-24T13:00:00Z", PURPOSE), 5))
    (tmp_path / "v.avi").rename(tmp_path / ".v.avi.0a1b2c3d.avi")
    run_stream(live(tmp_path, tiny_model, RecordingConfig("2026-12-24T11:00:00Z", PURPOSE), 5))
    assert [p.name for p in tmp_path.glob("*v*.avi")] == ["v.avi"], "what was left has a name, and nothing is new"


def test_a_recording_begins_once_the_clock_is_set(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(10**6))
    monkeypatch.setattr(privacy, "now", lambda: NOON if next(asked) > 40 else datetime(1970, 1, 1, tzinfo=timezone.utc))
    summary = run_stream(live(tmp_path, tiny_model, RecordingConfig("2026-12-24T13:00:00Z", PURPOSE), 60))
    told = [e["state"] for e in events_in(tmp_path / "e.jsonl") if e["event"] == "recording"]
    video = cv2.VideoCapture(str(tmp_path / "v.avi"))
    assert summary.frames == 60 and told == ["began"]
    assert 1 <= video.get(cv2.CAP_PROP_FRAME_COUNT) < 60
