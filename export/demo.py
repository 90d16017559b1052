"""The whole road on one photograph: render a clip, stream it through the shipped model, leave pictures and events.

Knows nothing that the stream does not; it runs exactly what a kiosk runs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from export.clip import render_clip
from export.photograph import load_photograph
from runtime.durable import replacing_directory
from runtime.errors import BadInput, MienError
from runtime.sinks.video import VideoFileWriter
from runtime.stream import StreamConfig, run_stream

FPS = 25.0
SHEET = (4, 3)  # columns and rows of the contact sheet
LEAST_FRAMES = 12  # one a cell


def run_demo(out: Path, precision: str, frames: int) -> dict[str, Any]:
    """Leave annotated.mp4, contact-sheet.png, events.jsonl and clip.mp4 in `out`, whole or not at all.

    Returns the stream's summary; `lines` is the same for people. Raises BadInput, MienError.
    """
    if frames < LEAST_FRAMES:
        raise BadInput(f"expected at least {LEAST_FRAMES} frames, found {frames}")
    photograph = load_photograph()
    with replacing_directory(out, known_by="contact-sheet.png") as folder:
        clip = folder / "clip.mp4"
        rendered = tqdm(render_clip(photograph, frames), total=frames, desc="render", disable=None, leave=False)
        _write_video(clip, rendered)
        summary = run_stream(StreamConfig(source=str(clip), precision=precision,  # type: ignore[arg-type]
                                          events=folder / "events.jsonl", video=folder / "annotated.mp4"))
        sheet = contact_sheet(folder / "annotated.mp4")
        if not cv2.imwrite(str(folder / "contact-sheet.png"), sheet):
            raise MienError(f"expected to write {folder / 'contact-sheet.png'}, found that OpenCV could not")
    lines = [summary.to_text(), *(f"{out / name}" for name in sorted(p.name for p in out.iterdir()))]
    return {**dataclasses.asdict(summary), "source": "clip.mp4", "lines": lines}


def _write_video(path: Path, frames: Any) -> None:
    video = VideoFileWriter(path, FPS)
    try:
        for frame in frames:
            video.write(frame)
        video.finish()
    except BaseException:
        video.abandon()
        raise


def contact_sheet(video: Path, width: int = 480) -> np.ndarray:
    """Return frames spread evenly over a video as one BGR uint8 picture of 4×3 cells, each `width` pixels wide."""
    capture = cv2.VideoCapture(str(video))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.resize(frame, (width, round(frame.shape[0] * width / frame.shape[1])),
                                 interpolation=cv2.INTER_AREA))
    capture.release()
    columns, rows = SHEET
    if len(frames) < columns * rows:
        raise MienError(f"expected at least {columns * rows} frames in {video.name}, found {len(frames)}")
    picks = [frames[i] for i in np.linspace(0, len(frames) - 1, columns * rows).round().astype(int)]
    return np.vstack([np.hstack(picks[r * columns : (r + 1) * columns]) for r in range(rows)])
