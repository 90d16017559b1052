"""The monitor in a whole stream: events, health, metrics, histograms, a reload, the policy."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kiosk import events_in, finish, folder_of, has_event, start, wait_until, write_config
from watched_model import EAGER, feed, random_faces, watched_model

from runtime import reading as reading_module
from runtime.card import load_model, save_card
from runtime.drift import monitor, stream_drift
from runtime.drift.config import DriftConfig
from runtime.drift.learned import CAMERA_FILE, ENGINE_FILE, camera_words
from runtime.errors import RestartNeeded
from runtime.ranges_file import read_ranges
from runtime.stream import run_stream
from runtime.stream_config import StreamConfig, SupervisionConfig


@pytest.fixture
def pictures(tmp_path: Path, face_photo: np.ndarray) -> Path:
    return folder_of(tmp_path / "in", face_photo, frames=2000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that watches its engine alone, and whose card names a range: histograms are kept."""
    found = watched_model(tmp_path / "model", world=False)
    save_card(found.directory, dataclasses.replace(found.card, calibration={"thresholds": {"unit": 0.5}}))
    return found.directory


@pytest.fixture
def drifting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine answers otherwise once the golden faces are behind it, and one face counts as many people's."""
    real = reading_module.CountedEngine.run

    def run(self: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: values * np.float32(1.1) for name, values in real(self, arrays).items()}

    monkeypatch.setattr(reading_module.CountedEngine, "run", run)
    monkeypatch.setattr(monitor, "ASAP", (-math.inf, 0.0))
    monkeypatch.setattr("runtime.supervision.supervision.EVERY_SECONDS", 0.05)


def config(pictures: Path, model: Path, folder: Path, drift: DriftConfig, frames: int = 0) -> StreamConfig:
    return StreamConfig(str(pictures), model=str(model), faces="haar", threads=1, events=folder / "e.jsonl",
                        drift=drift, max_frames=frames, supervision=SupervisionConfig(state=folder / "state"))


def test_a_drifting_engine_is_an_event_and_a_trouble_and_by_policy_a_restart(
    tmp_path: Path, pictures: Path, model: Path, drifting: None
) -> None:
    with pytest.raises(RestartNeeded, match="the engine departs from FP32") as caught:
        run_stream(config(pictures, model, tmp_path, dataclasses.replace(EAGER, policy="restart")))
    assert caught.value.exit_code == 75
    found = events_in(tmp_path / "e.jsonl")
    drift = next(e for e in found if e["event"] == "drift" and e["alarm"])
    assert drift["alarming"] == ["log_kl"] and drift["samples"] < 500 and drift["quantities"]["log_kl"]["alarms"] >= 1
    health = next(e for e in found if e["event"] == "health" and "drift" in e["troubles"])
    assert (health["state"], health["troubles"]["drift"]) == ("degraded", drift["alarm"])
    assert found[-1]["event"] == "end"


def test_the_policy_restarts_once_for_an_engine_and_then_tells(
    tmp_path: Path, pictures: Path, model: Path, drifting: None
) -> None:
    """The next process finds what this one found: for ever, a restart every few minutes."""
    policy = dataclasses.replace(EAGER, policy="restart")
    with pytest.raises(RestartNeeded):
        run_stream(config(pictures, model, tmp_path, policy))
    (tmp_path / "e.jsonl").unlink()
    run_stream(config(pictures, model, tmp_path, policy, frames=800))
    found = events_in(tmp_path / "e.jsonl")
    assert any(e["event"] == "drift" and e["alarming"] == ["log_kl"] for e in found) and found[-1]["event"] == "end"


def test_a_restart_that_cannot_be_noted_is_not_made(
    tmp_path: Path, pictures: Path, model: Path, drifting: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state" / stream_drift.RESTARTED).mkdir(parents=True)
    run_stream(config(pictures, model, tmp_path, dataclasses.replace(EAGER, policy="restart"), frames=800))
    assert "none is made" in caplog.text


def test_without_a_state_folder_no_restart_is_made(
    tmp_path: Path, pictures: Path, model: Path, drifting: None, caplog: pytest.LogCaptureFixture
) -> None:
    asked = config(pictures, model, tmp_path, dataclasses.replace(EAGER, policy="restart"), frames=800)
    run_stream(dataclasses.replace(asked, supervision=SupervisionConfig()))
    assert caplog.text.count("expected a state folder (supervision.state) to note a restart in") == 1


def test_the_histograms_are_there_when_a_stream_has_ended(tmp_path: Path, pictures: Path, model: Path) -> None:
    counts = []
    for _ in range(2):
        run_stream(config(pictures, model, tmp_path, EAGER, frames=40))
        ranges = read_ranges(tmp_path / "state" / "ranges.hist")
        counts.append(ranges.images)
    assert 1 <= counts[0] < counts[1] and set(ranges.histograms) == {"unit"}


def test_no_crop_is_written(tmp_path: Path, pictures: Path, model: Path) -> None:
    run_stream(config(pictures, model, tmp_path, EAGER, frames=40))
    assert {p.name for p in (tmp_path / "state").iterdir()} == {"stream.lock", "ranges.hist", "drift-camera.json",
                                                               "drift-engine.json"}
    assert {p.name for p in tmp_path.iterdir()} == {"in", "model", "state", "e.jsonl"}


def test_switched_off_nothing_runs(
    tmp_path: Path, pictures: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "DriftMonitor", None)  # would fail if it were called
    run_stream(config(pictures, model, tmp_path, DriftConfig(enabled=False), frames=3))
    assert not (tmp_path / "state" / "ranges.hist").exists()


def test_a_damaged_baseline_costs_the_monitor_only(
    tmp_path: Path, pictures: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (model / "drift.json").write_text("{}")
    assert run_stream(config(pictures, model, tmp_path, EAGER, frames=3)).frames == 3
    assert "the drift monitor is off: expected the bytes whose hash is in card.json" in caplog.text
    assert "the drift monitor is off" in (tmp_path / "e.jsonl").read_text()  # health


def test_points_for_the_report_come_while_nothing_changes(
    tmp_path: Path, pictures: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_drift, "TELL_SECONDS", 0.0)
    monkeypatch.setattr("runtime.supervision.supervision.EVERY_SECONDS", 0.05)
    run_stream(config(pictures, model, tmp_path, EAGER, frames=60))
    told = [e for e in events_in(tmp_path / "e.jsonl") if e["event"] == "drift"]
    assert told and told[-1]["alarm"] == "" and told[-1]["samples"] >= 1 and told[-1]["precision"] == "fp32"


def threads_of(process: int) -> set[str]:
    """Return the names of a process's threads; one that ends just now has none."""
    names = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):
            names.add((task / "comm").read_text().strip())
    return names


def test_a_signal_has_the_histograms_written_and_a_reload_switches_the_monitor_off(
    tmp_path: Path, pictures: Path, model: Path
) -> None:
    keys: dict[str, Any] = {"source": pictures, "model": model, "faces": "haar", "events": tmp_path / "e.jsonl",
                            "threads": 1, "supervision": {"state": str(tmp_path / "state")}}
    path = write_config(tmp_path / "s.yaml", **keys)
    running = start(path)
    wait_until(lambda: has_event(tmp_path / "e.jsonl", "faces"), running)
    ranges = tmp_path / "state" / "ranges.hist"

    def asked() -> bool:
        running.send_signal(signal.SIGUSR1)
        return ranges.exists()

    wait_until(asked, running)
    assert read_ranges(ranges).images >= 1
    write_config(path, **keys, drift={"enabled": False})
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: has_event(tmp_path / "e.jsonl", "reload", done=True), running)
    wait_until(lambda: "drift" not in threads_of(running.pid), running)
    os.remove(ranges)  # a monitor that still ran would write it at the end
    running.send_signal(signal.SIGTERM)
    code, summary, told = finish(running)
    assert (code, summary["ended"]) == (0, "stopped"), told
    assert not ranges.exists()


def test_frames_do_not_wait_for_the_monitor_that_a_reload_replaces(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, may_write = threading.Event(), threading.Event()
    real = monitor.KeptRanges.write

    def write(self: monitor.KeptRanges, reference: Any) -> None:
        writes.set()
        may_write.wait(30)
        real(self, reference)

    monkeypatch.setattr(monitor.KeptRanges, "write", write)
    monkeypatch.setattr(monitor, "CLOSING_SECONDS", 20.0)
    reading = SimpleNamespace(model=load_model(model), graph="fp32", precision="fp32",
                              engine=SimpleNamespace(target="cpu", compiled_sha256=""))
    pieces: Any = OpenPieces(reading=reading)
    pieces.config = StreamConfig("s", drift=EAGER)
    drift = stream_drift.StreamDrift(pieces, tmp_path)
    frame = (np.zeros((0, 1, 48, 48), np.uint8), np.zeros((0, 4)), [], [], 0.0)
    try:
        old = drift._monitor
        pieces.config = StreamConfig("s", drift=dataclasses.replace(EAGER, tolerance=2.0))
        drift.read(*frame)
        assert writes.wait(30) and old is not None and not old.gone
        assert drift.status() == stream_drift.OFF, "two would write one file"
        may_write.set()
        wait_until(lambda: old.gone)
        drift.read(*frame)
        assert drift.status()["state"] == "watching"
    finally:
        may_write.set()
        drift.close()


class OpenPieces(dict[str, Any]):
    """Parts by name, and their configuration."""


def test_what_is_learned_is_the_compiled_engines_and_the_cameras_own_over_a_reload_too(
    tmp_path: Path, model: Path
) -> None:
    """Another camera's faces in the first one's baseline would stand there for good."""
    found = load_model(model)
    reading = SimpleNamespace(model=found, graph="fp32", precision="fp32",
                              engine=SimpleNamespace(target="tensorrt", compiled_sha256="ab12"))
    pieces: Any = OpenPieces(reading=reading)
    pieces.config = StreamConfig("rtsp://one", drift=EAGER)
    drift = stream_drift.StreamDrift(pieces, tmp_path)
    no_faces = (np.zeros((0, 1, 48, 48), np.uint8), np.zeros((0, 4)), [], [], 0.0)
    seen = {"rtsp://one": 30, "rtsp://two": 20}
    try:
        for source, faces in seen.items():
            pieces.config = StreamConfig(source, drift=EAGER)
            drift.read(*no_faces)
            wait_until(lambda: drift.read(*no_faces) is None and drift._monitor is not None)
            assert drift._monitor is not None
            feed(drift._monitor, found, random_faces(faces))
    finally:
        drift.close()
    camera, engine = (json.loads((tmp_path / name).read_text())["of"] for name in (CAMERA_FILE, ENGINE_FILE))
    same = StreamConfig("any")
    names = {source: camera_words(source, same.camera_width, same.camera_height, same.faces, same.face_side,
                                  same.face_threshold) for source in seen}
    sizes = {owner: len(of["face_side"]["first"]) for owner, of in camera.items() if "face_side" in of}
    assert set(sizes) == set(names.values()) and all(sizes[names[source]] >= faces for source, faces in seen.items())
    assert [len(of["log_kl"]["first"]) for of in engine.values()] == [sum(sizes.values())]  # the engine is the same
    assert " tensorrt ab12 " in next(iter(engine))


def test_the_status_is_plain_json(tmp_path: Path, pictures: Path, model: Path) -> None:
    watching = monitor.DriftMonitor(load_model(model), "fp32", "cpu", EAGER)
    assert json.loads(json.dumps(watching.status(), allow_nan=False)) == watching.status()
    watching.close()
