"""The kiosk program, in real processes: its exit codes, its one line of error, its clean end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from kiosk import endless_folder, wait_until
from live_camera import alive
from tiny_model import TinyNetwork, write_tiny_card

from runtime import stream
from runtime.errors import BadModel, MienError
from runtime.stream import StreamConfig, run_stream

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "runtime" / "stream.py"


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, face_photo: np.ndarray) -> Path:
    """Twelve frames of the photograph moving, 320×240, and four without it."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    small = cv2.resize(face_photo, (205, 240), interpolation=cv2.INTER_AREA)
    for number in range(16):
        frame = np.full((240, 320, 3), 200, np.uint8)
        if number < 12:
            frame[:, 5 * number : 5 * number + 205] = small
        writer.write(frame)
    writer.release()
    return path


def program(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd,
                          env=environment, timeout=120, check=False)


def written(folder: Path, **keys: object) -> Path:
    (folder / "s.yaml").write_text(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in keys.items()}))
    return folder / "s.yaml"


def events_in(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_clip_becomes_a_video_events_and_a_summary(tmp_path: Path, tiny_model: Path, clip: Path) -> None:
    summary = run_stream(StreamConfig(str(clip), model=str(tiny_model), threshold=0.0, events=tmp_path / "e.jsonl",
                                      video=tmp_path / "v.mp4"))
    assert (summary.frames, summary.ended, summary.lost_events) == (16, "source ended", 0)
    assert summary.frames_with_faces >= 11
    assert summary.golden_difference <= summary.golden_bound
    start, running, *faces, stopping, end = events_in(tmp_path / "e.jsonl")
    assert (start["event"], end["event"]) == ("start", "end")
    assert [(e["event"], e["state"]) for e in (running, stopping)] == [("health", "running"), ("health", "stopping")]
    assert [start[k] for k in ("model", "precision", "target", "source")] == ["tiny", "fp32", "cpu", "clip.avi"]
    assert start["sha256"] == json.loads((tiny_model / "card.json").read_text())["graphs"]["fp32"]["sha256"]
    assert len(faces) == summary.frames_with_faces
    assert end["frames"] == 16 and end["expressions"] == summary.expressions
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 16


def test_a_summary_is_one_line_of_json(tiny_model: Path, clip: Path) -> None:
    summary = run_stream(StreamConfig(str(clip), model=str(tiny_model), max_frames=3))
    assert json.loads(summary.to_json())["frames"] == 3
    assert "engine agrees with PyTorch: yes" in summary.to_text()


def test_the_old_signal_handlers_come_back(tiny_model: Path, clip: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_stream(StreamConfig(str(clip), model=str(tiny_model), max_frames=1))
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_engine_that_departs_from_pytorch_scores_nothing(tmp_path: Path, tiny_model: Path, clip: Path) -> None:
    (tiny_model / "fp32.onnx").write_bytes(TinyNetwork.random(seed=5).graph().SerializeToString())
    write_tiny_card(tiny_model)
    with pytest.raises(MienError, match="nothing was scored") as caught:
        run_stream(StreamConfig(str(clip), model=str(tiny_model), events=tmp_path / "e.jsonl",
                                video=tmp_path / "v.mp4"))
    assert caught.value.exit_code == 1
    assert not (tmp_path / "e.jsonl").exists() and not (tmp_path / "v.mp4").exists()


def test_a_damaged_model_leaves_no_output(tmp_path: Path, tiny_model: Path, clip: Path) -> None:
    (tiny_model / "fp32.onnx").write_bytes(b"other bytes")
    with pytest.raises(BadModel):
        run_stream(StreamConfig(str(clip), model=str(tiny_model), video=tmp_path / "out" / "v.mp4"))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_loses_events_but_not_the_stream(tiny_model: Path, clip: Path) -> None:
    summary = run_stream(StreamConfig(str(clip), model=str(tiny_model), events=Path("/dev/full")))
    assert summary.frames == 16
    assert summary.lost_events >= 13  # start, one a frame with a face, end
    assert "events were lost" in summary.to_text()


def test_folder_of_mixed_sizes_becomes_one_video(tmp_path: Path, tiny_model: Path, face_photo: np.ndarray) -> None:
    (tmp_path / "in").mkdir()
    for number, size in enumerate(((320, 240), (240, 320), (101, 77))):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), cv2.resize(face_photo, size))
    run_stream(StreamConfig(str(tmp_path / "in"), model=str(tiny_model), video=tmp_path / "v.avi"))
    video = cv2.VideoCapture(str(tmp_path / "v.avi"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FRAME_WIDTH)) == (3, 320)


def test_yunet_detects_in_a_stream(mien_data: Path, tiny_model: Path, clip: Path) -> None:
    graph = mien_data / "models" / "yunet_n_320_320.onnx"
    summary = run_stream(StreamConfig(str(clip), model=str(tiny_model), faces=str(graph)))
    assert summary.frames_with_faces == 11  # the first of twelve only begins a track


def test_the_program_runs_from_any_folder_with_json_on_stdout(tmp_path: Path, tiny_model: Path, clip: Path) -> None:
    config = written(tmp_path, source=clip, model=tiny_model, events="e.jsonl")
    done = program(PROGRAM, "--config", config, "--json", cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 16
    assert "frames/s" in done.stderr
    assert (tmp_path / "e.jsonl").is_file()


def test_the_programs_folder_hides_no_standard_module(tmp_path: Path) -> None:
    room = tmp_path / "runtime"
    shutil.copytree(ROOT / "runtime", room, ignore=shutil.ignore_patterns("models", "__pycache__"))
    for name in ("signal", "json", "argparse", "logging"):
        (room / f"{name}.py").write_text("raise SystemExit('shadowed')")
    done = program(room / "stream.py", "--help")
    assert (done.returncode, "--config" in done.stdout) == (0, True), done.stderr


def flip_a_byte(model: Path) -> None:
    content = bytearray((model / "fp32.onnx").read_bytes())
    content[len(content) // 2] ^= 4
    (model / "fp32.onnx").write_bytes(content)


@pytest.mark.parametrize(("keys", "damage", "code", "told"), [
    ({"source": "v4l2:///dev/video97"}, None, 3, "expected a camera at /dev/video97"),
    ({}, flip_a_byte, 2, "fp32.onnx"),
    ({"precission": "fp32"}, None, 2, "did you mean precision?"),
    ({"source": "nowhere.mp4"}, None, 2, "nowhere.mp4"),
    ({"source": "empty.mp4"}, None, 2, "empty.mp4"),
    ({"model": "./nowhere"}, None, 2, "card.json"),
    ({"source": "noise.mp4"}, None, 2, "noise.mp4"),
    ({"source": "broken.jpg"}, None, 2, "broken.jpg"),
    ({"view": True}, None, 3, "--view"),
    ({"video": "out.mkv"}, None, 2, ".mp4 or .avi"),
])
def test_each_fault_is_one_line_and_its_exit_code(
    tmp_path: Path, tiny_model: Path, clip: Path, keys: dict[str, object], damage: object, code: int, told: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(clip.read_bytes()[:40] + os.urandom(4000))
    content = bytearray(cv2.imencode(".jpg", np.zeros((90, 90, 3), np.uint8))[1].tobytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "broken.jpg").write_bytes(content)
    if callable(damage):
        damage(tiny_model)
    done = program(PROGRAM, "--config", written(tmp_path, **{"source": clip, "model": tiny_model, **keys}))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("mien: expected ")
    assert told in done.stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_endless_stream_cleanly(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, stop: signal.Signals
) -> None:
    config = written(tmp_path, source=endless_folder(tmp_path / "endless", face_photo), model=tiny_model,
                     events="e.jsonl", video="v.mp4")
    running = subprocess.Popen([sys.executable, PROGRAM, "--config", config, "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        if (tmp_path / "e.jsonl").exists() and (tmp_path / "e.jsonl").read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.05)
    asked = time.monotonic()
    running.send_signal(stop)
    out, told = running.communicate(timeout=30)
    assert running.returncode == 0, told
    assert time.monotonic() - asked < 5
    summary, events = json.loads(out), events_in(tmp_path / "e.jsonl")
    assert (summary["ended"], events[-1]["event"], events[-1]["ended"]) == ("stopped", "end", "stopped")
    assert events[-1]["frames"] == summary["frames"]
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == summary["frames"]
    assert not list(tmp_path.glob(".*"))  # no temporary file


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_stream_opens_ends_it_cleanly(
    tmp_path: Path, tiny_model: Path, stop: signal.Signals
) -> None:
    started = tmp_path / "started"
    camera = f"pipe:64x48:sh -c 'echo $PPID >> {started}; exec sleep 120'"  # its first frame is waited for, in vain
    config = written(tmp_path, source=camera, model=tiny_model, events="e.jsonl", video="v.mp4",
                     recovery={"wait_at_start": False, "start_seconds": 100.0}, supervision={"state": "state"})
    before = set(tmp_path.iterdir())
    running = subprocess.Popen([sys.executable, PROGRAM, "--config", config, "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_until(lambda: started.exists() and started.read_text(), running)
    running.send_signal(signal.SIGUSR1)  # asks for histograms, of which there are none yet
    running.send_signal(stop)
    out, told = running.communicate(timeout=30)
    assert (running.returncode, out, told.count("\n")) == (0, "", 1)
    assert "nothing was begun" in told, "given up, not ended by the guard, which says nothing"
    assert set(tmp_path.iterdir()) - before == {started, tmp_path / "state"}, "no events, no video, no temporary file"
    wait_until(lambda: not alive(int(started.read_text())))


@pytest.mark.parametrize("how", [[str(PROGRAM)], ["-m", "mien", "stream"]], ids=["program", "verb"])
def test_a_request_for_histograms_while_libraries_load_ends_nothing_and_no_child_inherits_that(
    tmp_path: Path, how: list[str]
) -> None:
    (tmp_path / "numpy.py").write_text("""
import os, signal, subprocess, sys
os.kill(os.getpid(), signal.SIGUSR1)
child = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"])
os._exit(7 if child.returncode == -signal.SIGUSR1 else 8)
""")
    done = subprocess.run([sys.executable, *how, "--config", "s.yaml"], cwd=ROOT, check=False, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 7, done.stderr


def test_a_library_that_hangs_while_the_stream_opens_is_left_by_the_guard(tmp_path: Path) -> None:
    hanging = """
import os, signal, time
from runtime.supervision import stop_request
stop_request.OVERDUE_SECONDS = 0.2
with stop_request.stop_on_signals() as stop, stop.interruptible():
    stop._interrupts = False  # as inside a library, where no Python handler runs
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
    assert program("-c", hanging).returncode == 0


def test_a_package_that_does_not_load_is_one_line(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> None:
        raise ImportError("libz.so.1: cannot open shared object file", name="PIL")

    monkeypatch.setattr(stream, "run_stream", missing)
    monkeypatch.setattr(stream, "forbid_core_dumps", lambda: None)
    assert stream.main(["--config", str(written(tmp_path, source=tmp_path, model=tiny_model))]) == 3
    assert capsys.readouterr().err.startswith("mien: expected the package PIL, found one that does not load: libz")


def test_main_reports_a_missing_config(tmp_path: Path) -> None:
    done = program(PROGRAM, "--config", tmp_path / "nowhere.yaml")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "nowhere.yaml" in done.stderr
