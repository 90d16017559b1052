"""From glass to event: a camera's pace through a real capture process, and figures that add up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.bench import glass_to_event
from runtime.bench.glass_to_event import Plan, measure_latency
from runtime.errors import MienError

ROOT = Path(__file__).parents[3]


def test_every_stage_of_a_live_stream_is_timed(face_photo: np.ndarray) -> None:
    frames = np.stack([face_photo[60:540, shift : shift + 480] for shift in range(20)])
    found = measure_latency(frames, Plan("mien-face", "mien-light", "int8", every=3, births=1, fps=20.0, seconds=1.0))
    stages = found["milliseconds"]
    assert list(stages) == ["arrival", "follow", "detect", "crop", "infer", "sinks", "glass_to_event"]
    # a frame is never younger at its event than when the pipeline took it
    assert stages["arrival"]["p50"] < stages["glass_to_event"]["p50"] <= stages["glass_to_event"]["p99"]
    assert 0 < found["frames"] <= 25 and found["peak_resident_mib"] > 50
    assert found["share_of_a_core"] > 0 and 0 <= found["waited_for_core"] < 1


def test_a_clip_that_a_camera_would_not_be_scored_for_ends_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glass_to_event, "PATIENCE", 3.0)
    with pytest.raises(MienError, match="neither dark nor still"):
        measure_latency(np.zeros((2, 48, 64, 3), np.uint8), Plan("haar", "mien-light", "int8", 1, 1, 10.0, 0.1))


def test_a_stream_that_cannot_open_is_said() -> None:
    with pytest.raises(MienError, match="expected to stream with nowhere"):
        measure_latency(np.zeros((1, 48, 64, 3), np.uint8), Plan("nowhere", "mien-light", "int8", 1, 1, 10.0, 0.1))


def test_paced_frames_come_in_order_again_and_again_and_end_with_their_reader(tmp_path: Path) -> None:
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    np.save(tmp_path / "frames.npy", frames)
    with subprocess.Popen([sys.executable, "-m", "runtime.bench.paced_frames", str(tmp_path / "frames.npy"), "500"],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as camera:
        assert camera.stdout is not None and camera.stderr is not None
        assert camera.stdout.read(3 * 72) == frames.tobytes() + frames[0].tobytes()
        camera.stdout.close()
        assert camera.wait(10) == 0 and camera.stderr.read() == b""
