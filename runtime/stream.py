"""The kiosk program: `python runtime/stream.py --config stream.yaml`. Opens what a configuration names, and runs it.

Knows nothing of how a stage works; the pipeline does the work, this file opens and closes.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # As a script, Python puts runtime/ first on the path, where our file names could hide the standard library's;
    # `import runtime` works from the folder above. Done before anything else is imported.
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [os.path.dirname(_here), *(p for p in sys.path if not p or os.path.realpath(p) != _here)]

import argparse
import dataclasses
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from runtime.annotate import annotate
from runtime.camera import open_source
from runtime.camera.source import FrameSource
from runtime.camera.v4l2 import CameraMode
from runtime.card import load_model
from runtime.engines import graph_for, open_engine
from runtime.errors import DONE, FAILED, MienError
from runtime.events import EventLog
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector
from runtime.golden import require_agreement
from runtime.pipeline import Pipeline, Scene, Tally
from runtime.stream_config import StreamConfig, config_of, load_config
from runtime.video import VideoFileWriter
from runtime.window import Window

__all__ = ["StreamConfig", "Summary", "config_of", "load_config", "main", "run_stream"]

DEFAULT_FPS = 25.0  # of the annotated video, where the source knows no rate


@dataclass(frozen=True)
class Summary(Tally):
    """What a stream saw, and which engine saw it; `golden_difference` is its largest |Δlogit| against PyTorch."""

    source: str
    model: str
    precision: str
    target: str
    golden_difference: float
    golden_bound: float
    lost_events: int
    repaired_events: int

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    def to_text(self) -> str:
        """Return a few lines for a person."""
        stages = ", ".join(f"{stage} {ms['p50']:.1f} (p95 {ms['p95']:.1f})"
                           for stage, ms in self.stage_milliseconds.items())
        seen = ", ".join(f"{label} {count}" for label, count in self.expressions.items())
        passed = (f"{self.source}: {self.frames} frames, {self.frames_with_faces} with faces, in {self.seconds:.1f} s: "
                  f"{self.frames_per_second:.1f} frames/s ({self.ended})")
        agrees = (f"engine agrees with PyTorch: yes (max |Δ| {self.golden_difference:.2g}, bound "
                  f"{self.golden_bound:.2g}; {self.model} {self.precision} on {self.target})")
        lines = [passed, f"milliseconds a frame: {stages or 'none'}", f"expressions: {seen or 'none'}", agrees]
        counted = ((self.damaged_frames, "frames could not be read"),
                   (self.not_finite, "faces had no finite answer and no event"),
                   (self.lost_events, "events were lost: the disk did not take them"),
                   (self.repaired_events, "torn last line was cut from the events file"))
        return "\n".join(lines + [f"warning: {count} {what}" for count, what in counted if count])


def run_stream(config: StreamConfig) -> Summary:
    """Run a stream to its end, or until SIGTERM or SIGINT: the frame in work is finished and every sink is closed.

    Raises BadInput, BadModel, Unavailable, and MienError where the engine departs from PyTorch's golden logits.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        model = load_model(Path(config.model))
        # a service uses the engines that `mien prepare` left, and never writes one: docs/engine-cache.md
        engine = open_engine(model, config.precision, config.target, config.threads, config.cache, may_compile=False)
        stack.callback(engine.close)
        graph = graph_for(config.precision, engine.target)
        agreement = require_agreement(model, engine, graph)
        detector = open_detector(config.faces, config.max_faces, config.face_threshold, config.threads)
        stack.callback(detector.close)
        source = stack.enter_context(
            open_source(config.source, CameraMode(config.camera_width, config.camera_height, config.camera_fps)))
        reader = ExpressionReader(model, engine, config.threshold)
        sinks = stack.enter_context(_open_sinks(config, source, reader.labels))
        if sinks.events:
            sinks.events.write("start", {
                "model": model.card.name, "precision": config.precision, "target": engine.target,
                "sha256": model.card.graphs[graph].sha256, "source": source.name})
        pipeline = Pipeline(source, detector, reader, sinks.each)
        try:
            pipeline.run(lambda: stop.asked or sinks.closed_by_person(), config.max_frames)
        finally:  # a camera that went away does not cost what was seen before
            sinks.finish(pipeline.tally())
        return Summary(
            **vars(pipeline.tally()), source=source.name, model=model.card.name, precision=config.precision,
            target=engine.target, golden_difference=agreement.largest, golden_bound=agreement.bound,
            lost_events=sinks.events.lost if sinks.events else 0,
            repaired_events=sinks.events.repaired if sinks.events else 0)


@dataclass(frozen=True)
class _Sinks:
    """Where scenes go: events first, so that a slow picture never delays them."""

    each: Sequence[Callable[[Scene], None]]
    events: EventLog | None
    video: VideoFileWriter | None
    window: Window | None

    def closed_by_person(self) -> bool:
        return self.window is not None and self.window.closed

    def finish(self, tally: Tally) -> None:
        """End the events with their counts, and give the video its name."""
        if self.events:
            counts = {k: v for k, v in vars(tally).items() if k != "stage_milliseconds"}
            self.events.write("end", {**counts, "lost_events": self.events.lost})
        if self.video:
            self.video.finish()


@contextmanager
def _open_sinks(config: StreamConfig, source: FrameSource, labels: Sequence[str]) -> Iterator[_Sinks]:
    """Open what the configuration asks for; on the way out all is closed, and an unfinished video removed."""
    with ExitStack() as stack:
        each: list[Callable[[Scene], None]] = []
        pictures: list[Callable[[np.ndarray], None]] = []
        window = video = events = None
        if config.view:
            window = Window()
            stack.callback(window.close)
            pictures.append(window.write)
        if config.video:
            video = VideoFileWriter(config.video, source.fps or DEFAULT_FPS)
            stack.callback(video.abandon)
            pictures.append(video.write)
        if config.events:
            events = EventLog(config.events)
            stack.callback(events.close)
            each.append(_events_sink(events, labels))
        if pictures:
            each.append(_picture_sink(pictures, labels, config.notice))
        yield _Sinks(each, events, video, window)


def _events_sink(events: EventLog, labels: Sequence[str]) -> Callable[[Scene], None]:
    def write(scene: Scene) -> None:
        events.write_faces(scene.frame, scene.faces, scene.expressions, labels)
    return write


def _picture_sink(
    pictures: Sequence[Callable[[np.ndarray], None]], labels: Sequence[str], notice: str
) -> Callable[[Scene], None]:
    def write(scene: Scene) -> None:
        drawn = annotate(scene.frame.image, scene.faces, scene.expressions, labels, notice)
        for show in pictures:
            show(drawn)
    return write


class StopRequest:
    """Whether the stream was asked to end. A plain bool: a threading.Event set in a handler may deadlock on itself."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Be a signal handler."""
        self.asked = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield what SIGTERM and SIGINT set; the old handlers come back afterwards.

    Only the main thread may catch signals: in another one nothing is ever asked.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kiosk program and return its exit code; an error is one line on stderr."""
    parser = argparse.ArgumentParser(prog="stream.py", description="Read expressions from a camera until told to stop.")
    parser.add_argument("--config", type=Path, required=True, help="a stream.yaml; the repository's comments every key")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    args = parser.parse_args(arguments)
    logging.basicConfig(format="mien: %(message)s")
    try:
        summary = run_stream(load_config(args.config))
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"mien: expected to read and write files, found {error}; check the path and free space", file=sys.stderr)
        return FAILED
    print(summary.to_text(), file=sys.stderr)
    if args.json:
        print(summary.to_json())
    return DONE


if __name__ == "__main__":
    sys.exit(main())
