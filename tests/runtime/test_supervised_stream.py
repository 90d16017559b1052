"""A whole stream under supervision: what systemd hears, what is fallen back to, what a taken port costs."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from kiosk import ROOT, Manager, events_in, folder_of

from runtime import reading, stream
from runtime.card import load_model, save_card
from runtime.drift.config import DriftConfig
from runtime.engines import shared
from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, MienError, RestartNeeded, Unavailable
from runtime.faces.detector import Faces
from runtime.faces.model_detector import ModelDetector
from runtime.pieces import Pieces
from runtime.privacy import RecordingConfig
from runtime.stream import StreamConfig, run_stream
from runtime.stream_config import MetricsConfig, SupervisionConfig, TrackingConfig
from runtime.supervision.fallback import FILE
from runtime.supervision.health import Health
from runtime.supervision.supervision import state_folder


@pytest.fixture
def pictures(tmp_path: Path, face_photo: np.ndarray) -> Path:
    return folder_of(tmp_path / "in", face_photo, frames=5)


def test_systemd_hears_ready_after_the_golden_faces_and_stopping_at_the_end(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = reading.require_agreement

    def require_agreement(*arguments: object) -> object:
        asked.append(len(manager.heard()))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "require_agreement", require_agreement)
    with closing(Manager(tmp_path / "notify")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
        run_stream(StreamConfig(str(pictures), model=str(tiny_model)))
        heard = manager.heard()
    ready = next(n for n, message in enumerate(heard) if message.startswith("READY=1"))
    assert asked == [1] and heard[0].startswith("EXTEND_TIMEOUT_USEC=") and ready == 1
    assert heard[-1] == "STOPPING=1" and "STATUS=running: in" in heard[ready]


def test_an_engine_that_is_not_there_is_replaced_and_told(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    config = StreamConfig(str(pictures), model=str(tiny_model), target="tensorrt", cache=tmp_path / "cache",
                          events=tmp_path / "e.jsonl", supervision=SupervisionConfig(state=tmp_path / "state"))
    summary = run_stream(config)
    assert (summary.target, summary.frames) == ("cpu", 5)
    start, health, *_ = events_in(tmp_path / "e.jsonl")
    assert (start["target"], health["state"]) == ("cpu", "degraded")
    assert health["troubles"]["engine"].startswith("fp32 on tensorrt failed: expected ")
    assert health["troubles"]["engine"].endswith("fp32 on cpu runs")


def test_an_engine_that_fails_in_work_ends_the_process_with_its_events(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = OnnxRuntimeEngine.run, [0]

    def run(self: OnnxRuntimeEngine, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        runs[0] += 1
        if runs[0] > 3:  # the golden faces are the first
            raise MienError("expected ONNX Runtime to run the graph, found: CUDA error 700")
        return real(self, arrays)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)
    config = StreamConfig(str(pictures), model=str(tiny_model), faces="haar", events=tmp_path / "e.jsonl",
                          drift=DriftConfig(enabled=False), supervision=SupervisionConfig(state=tmp_path / "state"))
    with pytest.raises(RestartNeeded, match="CUDA error 700") as caught:
        run_stream(config)
    assert caught.value.exit_code == 75
    found = events_in(tmp_path / "e.jsonl")
    assert (found[-1]["event"], found[-1]["frames"]) == ("end", 2)
    assert any("CUDA error 700" in e["troubles"].get("restart", "") for e in found if e["event"] == "health")
    assert "CUDA error 700" in (tmp_path / "state" / FILE).read_text()


def test_a_detector_that_fails_in_work_ends_the_process_too(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, frames = ModelDetector.detect, [0]

    def detect(self: ModelDetector, frame: np.ndarray) -> Faces:
        frames[0] += 1
        if frames[0] > 2:
            raise MienError("expected ONNX Runtime to run the graph, found: CUDA error 700")
        return real(self, frame)

    monkeypatch.setattr(ModelDetector, "detect", detect)
    config = StreamConfig(str(pictures), model=str(tiny_model), events=tmp_path / "e.jsonl")
    with pytest.raises(RestartNeeded, match="CUDA error 700"):
        run_stream(config)
    assert events_in(tmp_path / "e.jsonl")[-1]["frames"] == 2


@pytest.mark.parametrize("raised", [ZeroDivisionError("division\nby zero"), cv2.error("(-215) !empty()")])
def test_an_error_that_nobody_foresaw_is_one_line_and_the_events_are_whole(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    real, frames = ModelDetector.detect, [0]

    def detect(self: ModelDetector, frame: np.ndarray) -> Faces:
        frames[0] += 1
        if frames[0] > 2:
            raise raised
        return real(self, frame)

    monkeypatch.setattr(ModelDetector, "detect", detect)
    with pytest.raises(MienError, match=r"found \S+\.\S+ at test_supervised_stream.py:\d+: ") as caught:
        run_stream(StreamConfig(str(pictures), model=str(tiny_model), events=tmp_path / "e.jsonl"))
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    found = events_in(tmp_path / "e.jsonl")
    assert (found[-1]["event"], found[-1]["frames"], found[-1]["ended"]) == ("end", 2, "failed")
    assert str(caught.value) in [e["troubles"].get("failed") for e in found if e["event"] == "health"]


def test_a_new_threshold_opens_no_second_engine(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = shared.open_engine
    monkeypatch.setattr(shared, "open_engine", lambda model, *rest, **more: (
        opened.append(model.card.task), real(model, *rest, **more))[1])
    config = StreamConfig(str(pictures), model=str(tiny_model), events=tmp_path / "e.jsonl")
    real_detect, frames = ModelDetector.detect, [0]

    def detect(self: ModelDetector, frame: np.ndarray) -> Faces:
        frames[0] += 1
        if frames[0] == 2:
            os.kill(os.getpid(), signal.SIGHUP)
        return real_detect(self, frame)

    monkeypatch.setattr(ModelDetector, "detect", detect)
    run_stream(config, lambda: dataclasses.replace(config, face_threshold=0.6, face_side=320))
    reload = next(e for e in events_in(tmp_path / "e.jsonl") if e["event"] == "reload")
    assert (reload["done"], reload["changed"], frames[0]) == (True, ["detector"], 5)
    assert opened == ["expression", "face"]


def test_after_a_reload_a_detector_that_fails_is_counted_under_the_new_model(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(tiny_model, tmp_path / "other")
    save_card(other, dataclasses.replace(load_model(other).card, name="other"))
    real, frames = ModelDetector.detect, [0]

    def detect(self: ModelDetector, frame: np.ndarray) -> Faces:
        frames[0] += 1
        if frames[0] == 2:
            os.kill(os.getpid(), signal.SIGHUP)
        if frames[0] == 4:
            raise MienError("expected ONNX Runtime to run the graph, found: CUDA error 700")
        return real(self, frame)

    monkeypatch.setattr(ModelDetector, "detect", detect)
    config = StreamConfig(str(pictures), model=str(tiny_model), supervision=SupervisionConfig(state=tmp_path / "state"))
    with pytest.raises(RestartNeeded, match="CUDA error 700"):
        run_stream(config, lambda: dataclasses.replace(config, model=str(other)))
    assert json.loads((tmp_path / "state" / FILE).read_text())["model"] == "other"


def test_a_reload_from_pictures_to_a_clip_follows_faces_at_the_new_cadence(
    tmp_path: Path, tiny_model: Path, pictures: Path, face_photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, picture = tmp_path / "clip.avi", cv2.resize(face_photo, (320, 376))
    writer = cv2.VideoWriter(str(clip), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 376))
    for _ in range(12):
        writer.write(picture)
    writer.release()
    real, frames = ModelDetector.detect, [0]

    def detect(self: ModelDetector, frame: np.ndarray) -> Faces:
        frames[0] += 1
        if frames[0] == 2:
            os.kill(os.getpid(), signal.SIGHUP)
        return real(self, frame)

    monkeypatch.setattr(ModelDetector, "detect", detect)
    config = StreamConfig(str(pictures), model=str(tiny_model))
    moving = dataclasses.replace(config, source=str(clip), tracking=TrackingConfig(6, births=1, expire=60.0))
    summary = run_stream(config, lambda: moving)
    assert (summary.frames, summary.detections) == (2 + 12, 2 + 2), "each of two pictures, then every sixth frame"


def test_a_rejected_reload_leaves_no_part_behind_for_the_next(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_source(address: str, *_: object) -> Any:
        return SimpleNamespace(name=address, live=address == "camera", fps=10.0, close=lambda: None)

    monkeypatch.setattr(stream, "open_source", open_source)
    config = StreamConfig("clip", model=str(tiny_model), faces="haar")
    with Pieces(stream._pieces(config, None, Health()), config) as pieces:
        with pytest.raises(BadInput, match="ending in"):
            pieces.replace(dataclasses.replace(
                config, source="camera", video=tmp_path / "v.txt",
                recording=RecordingConfig(until=str(datetime.now(timezone.utc) + timedelta(hours=1)), purpose="t")))
        pieces.replace(dataclasses.replace(config, video=tmp_path / "v.avi"))  # a clip's needs no permission
        assert pieces["video"] is not None and pieces["source"].name == "clip"


def test_a_detector_without_its_engine_falls_back_with_the_expressions(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = stream.open_detector

    def open_detector(*arguments: Any) -> object:
        asked.append(arguments[4:6])
        if arguments[4] == "int8":
            raise Unavailable("expected a prepared engine, found none")
        return real(*arguments)

    monkeypatch.setattr(stream, "open_detector", open_detector)
    monkeypatch.setattr(stream, "open_reading", lambda config, state, _: OnAGpu(reading.open_reading(config, state)))
    config = StreamConfig(str(pictures), model=str(tiny_model), face_precision="int8", events=tmp_path / "e.jsonl",
                          supervision=SupervisionConfig(state=tmp_path / "state"), drift=DriftConfig(enabled=False))
    run_stream(config)
    assert asked == [("int8", "tensorrt"), ("fp32", "cpu")]
    health = next(e for e in events_in(tmp_path / "e.jsonl") if e["event"] == "health")
    assert health["troubles"]["detector"].endswith("it runs on the CPU")


class OnAGpu:
    """A reading that says that it runs on a GPU."""

    def __init__(self, real: reading.Reading):
        self._real = real
        self.engine = real.engine
        self.engine.target = "tensorrt"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_taken_port_costs_the_metrics_only(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        summary = run_stream(StreamConfig(str(pictures), model=str(tiny_model), events=tmp_path / "e.jsonl",
                                          metrics=MetricsConfig(port=taken.getsockname()[1])))
    assert summary.frames == 5
    _, health, *_ = events_in(tmp_path / "e.jsonl")
    assert (health["state"], "in use" in health["troubles"]["metrics"]) == ("degraded", True)


def test_a_second_stream_of_a_state_folder_is_refused(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    from runtime.supervision.instance_lock import only_instance

    config = StreamConfig(str(pictures), model=str(tiny_model), supervision=SupervisionConfig(state=tmp_path / "state"))
    with only_instance(tmp_path / "state"), pytest.raises(Unavailable, match="expected no other stream"):
        run_stream(config)


def test_systemds_state_directory_is_used_where_none_is_configured(tmp_path: Path) -> None:
    given = {"STATE_DIRECTORY": "/var/lib/mien:/var/lib/other"}
    assert state_folder(SupervisionConfig(), given) == Path("/var/lib/mien")
    assert state_folder(SupervisionConfig(state=tmp_path), given) == tmp_path
    assert state_folder(SupervisionConfig(), {}) is None


def test_the_program_leaves_no_core(tmp_path: Path) -> None:
    program = ("import ctypes, resource\nfrom runtime.supervision.core_dumps import forbid_core_dumps\n"
               "forbid_core_dumps()\n"
               "print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["0", "0", "0"]  # both limits; PR_GET_DUMPABLE
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
