"""`mien bench stream`: two words that are one verb, refusals before anything is measured, a record and a table."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from runtime.bench import stream
from runtime.errors import BAD_INPUT, DONE
from runtime.sinks.video import VideoFileWriter


@pytest.fixture
def clip(tmp_path: Path, face_photo: np.ndarray) -> Path:
    """A second and a half of the photograph, sliding."""
    video = VideoFileWriter(tmp_path / "clip.mp4", 25.0)
    for shift in range(60):
        video.write(cv2.resize(face_photo[60:540, shift // 2 : shift // 2 + 480], (320, 240)))
    video.finish()
    return tmp_path / "clip.mp4"


def test_bench_stream_is_a_verb_and_bench_of_models_another() -> None:
    parser = mien.make_parser()
    assert parser.parse_args(["bench", "stream", "clip.mp4"]).clip == Path("clip.mp4")
    assert parser.parse_args(["bench", "mien-light", "stream"]).models == [Path("mien-light"), Path("stream")]


def test_the_record_holds_a_row_for_one_and_for_three_faces(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream, "CHUNK", 2)
    monkeypatch.setattr(stream, "TURNS", 2)
    record = tmp_path / "record.json"
    assert mien.main(["bench", "stream", str(clip), "--faces", "mien-face", "--seconds", "0",
                      "--record", str(record)]) == DONE
    found = json.loads(record.read_text())
    assert [(row["detector"], row["faces"], row["live"]) for row in found["rows"]] == [
        ("mien-face", 1, None), ("mien-face", 3, None)]
    table = capsys.readouterr().err.splitlines()
    assert table[0].split()[0] == "detector" and [line.split()[1] for line in table[1:3]] == ["1", "3"]


@pytest.mark.parametrize("flags", [["--every", "0"], ["--fps", "0"], ["--seconds", "-1"],
                                   ["--record", "nowhere/record.json"]])
def test_a_wrong_flag_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.main(["bench", "stream", "demo.mp4", *flags]) == BAD_INPUT
    assert capsys.readouterr().err.startswith("mien: expected")
