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
    from runtime.supervision.stop_request import outlive_export_requests

    outlive_export_requests()  # the libraries below take seconds to load on a small board

import argparse
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy  # noqa: F401  # before OpenCV, which speaks for itself where it is missing

# isort: split
import cv2

from runtime.camera import open_source
from runtime.camera.source import FrameSource
from runtime.camera.v4l2 import CameraMode
from runtime.command_line import missing_package
from runtime.drift.stream_drift import StreamDrift
from runtime.engines.shared import SharedEngines
from runtime.errors import DONE, FAILED, BadConfig, GpuLost, MienError, RestartNeeded
from runtime.expressions import ExpressionReader
from runtime.faces import open_detector
from runtime.faces.detector import FaceDetector
from runtime.faces.restarting import RestartingDetector
from runtime.pieces import Piece, Pieces
from runtime.pipeline import Pipeline, Tally
from runtime.reading import Reading, open_reading
from runtime.reload import Current, CurrentReader, CurrentSource, reload_pieces
from runtime.sinks.sinks import Sinks, sink_pieces
from runtime.stream_config import StreamConfig, config_of, load_config
from runtime.supervision.core_dumps import forbid_core_dumps
from runtime.supervision.health import Health
from runtime.supervision.instance_lock import only_instance
from runtime.supervision.stop_request import StopAsked, Stopped, stop_on_signals
from runtime.supervision.supervision import Supervision, state_folder
from runtime.supervision.systemd import Notifier
from runtime.supervision.unexpected import unexpected
from runtime.tracks.steady import SteadyLabels, SteadyRules
from runtime.tracks.tracking import FaceTracker
from runtime.tracks.tracks import TrackRules

__all__ = ["StreamConfig", "Summary", "config_of", "load_config", "main", "run_stream"]

OPENING_SECONDS = 90.0  # that systemd is asked for; a Jetson deserializes an engine in a few
OPENCV_NO_MEMORY = -4  # cv::Error::StsNoMem


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


def run_stream(config: StreamConfig, load_again: Callable[[], StreamConfig] | None = None) -> Summary:
    """Run a stream to its end, or until SIGTERM or SIGINT: the frame in work is finished and every sink is closed.

    load_again reads the configuration for SIGHUP. Raises BadInput, BadModel, Unavailable, Departure where the engine
    departs from PyTorch's golden logits, RestartNeeded where only a new process helps, Stopped where a signal came
    before the first frame was asked for, and MienError for an error that nobody raised on purpose.
    """
    try:
        with ExitStack() as stack:
            return _run(config, load_again, stack)
    except StopAsked:
        raise Stopped("expected to begin a stream, found that it shall stop; nothing was begun") from None
    except (MienError, OSError, ImportError):
        raise
    except Exception as error:
        raise _expected(error) from error


def _run(config: StreamConfig, load_again: Callable[[], StreamConfig] | None, stack: ExitStack) -> Summary:
    notifier, health = Notifier(), Health()
    stack.callback(notifier.close)
    stop = stack.enter_context(stop_on_signals())
    state = state_folder(config.supervision, os.environ)
    if state:
        stack.enter_context(only_instance(state))
    notifier.needs_longer(OPENING_SECONDS)
    pieces = stack.enter_context(Pieces(_pieces(config, state, health), config, stop.interruptible))
    sinks = Sinks(pieces, health)
    drift = stack.enter_context(closing(StreamDrift(pieces, state)))
    reading, source = pieces["reading"], pieces["source"]
    sinks.event("start", **reading.facts(), source=source.name)
    tracker = FaceTracker(*_tracking(config, source))
    # the stand-ins pass on to what a reload opened last
    pipeline = Pipeline(cast(FrameSource, CurrentSource(pieces, "source")),
                        cast(FaceDetector, Current(pieces, "detector")),
                        cast(ExpressionReader, CurrentReader(pieces, "reading")), [sinks],
                        tracker, SteadyLabels(reading.reader.labels, _steady_rules(config)),
                        on_progress=lambda: supervision.turn(), on_read=drift.read)
    supervision = Supervision(pieces, sinks, health, notifier, lambda: pipeline.tally(recent=True), drift)
    stop.overdue = lambda: sinks.end_events(pipeline.tally())

    def should_stop() -> bool:
        if stop.reload_asked:
            stop.reload_asked = False
            reload_pieces(pieces, load_again, sinks, health, notifier, stop)
            tracker.use(*_tracking(pieces.config, pieces["source"]))
        return stop.asked or sinks.closed_by_person

    supervision.begin()
    try:
        pipeline.run(should_stop, config.max_frames)
    except RestartNeeded as error:
        health.report("restart", str(error))
        raise
    except (MienError, OSError):
        raise
    except Exception as error:
        told = _expected(error)
        health.report("restart" if isinstance(told, RestartNeeded) else "failed", str(told))
        raise told from error
    finally:  # a camera that went away does not cost what was seen before
        supervision.end()
        sinks.finish(pipeline.tally())
    reading = pieces["reading"]
    events = pieces["events"]
    return Summary(
        **vars(pipeline.tally()), source=pieces["source"].name, model=reading.model.card.name,
        precision=reading.precision, target=reading.engine.target, golden_difference=reading.agreement.largest,
        golden_bound=reading.agreement.bound, lost_events=events.lost, repaired_events=events.repaired)


def _tracking(config: StreamConfig, source: FrameSource) -> tuple[TrackRules, int]:
    """Follow faces in moving pictures; a folder's images have nothing to do with each other."""
    tracking = config.tracking
    if source.still:
        return TrackRules(most=config.max_faces), 1
    return TrackRules(tracking.births, tracking.misses, tracking.expire, config.max_faces), tracking.detect_every


def _steady_rules(config: StreamConfig) -> SteadyRules:
    smoothing = config.smoothing
    return SteadyRules(config.threshold, smoothing.seconds, smoothing.margin, smoothing.dwell, smoothing.read_every)


def _pieces(config: StreamConfig, state: Path | None, health: Health) -> list[Piece]:
    """Return how each part is opened, in order: nothing is written before an engine agreed with its golden faces."""
    engines = SharedEngines()

    def open_model(new: StreamConfig, beside: Mapping[str, Any]) -> Reading:
        reading, old = open_reading(new, state, engines), beside.get("reading")
        if old and list(old.reader.labels) != list(reading.reader.labels):  # who reads the events knows the first ones
            reading.close()
            raise BadConfig(f"expected a model with the labels {', '.join(old.reader.labels)}, found "
                            f"{', '.join(reading.reader.labels)}; restart the stream for that")
        return reading

    def open_faces(new: StreamConfig, beside: Mapping[str, Any]) -> FaceDetector:
        reading: Reading = beside["reading"]

        def opened(precision: str, target: str) -> FaceDetector:
            detector = open_detector(new.faces, new.max_faces, new.face_threshold, new.threads, precision, target,
                                     new.cache, new.face_side, engines)
            return RestartingDetector(detector, reading.failures)

        target = reading.engine.target  # where expressions are read: they may have fallen back
        try:
            found = opened(new.face_precision, target)
        except GpuLost as error:
            reading.failures.add(str(error))
            raise
        except MienError as error:
            if (state is None and new.target != "auto") or target == "cpu":
                raise
            health.report("detector", f"{error}; it runs on the CPU")
            return opened("fp32", "cpu")
        health.report("detector")
        return found

    def open_camera(new: StreamConfig, beside: Mapping[str, Any]) -> FrameSource:
        mode = CameraMode(new.camera_width, new.camera_height, new.camera_fps)
        return open_source(new.source, mode, new.recovery)

    model = ("model", "precision", "target", "threads", "cache", "threshold")
    return [
        Piece("reading", model, open_model),
        # another reading counts failures under another name, perhaps on another target; a network that stays stays open
        Piece("detector", ("faces", "face_precision", "face_side", "face_threshold", "max_faces", *model), open_faces),
        Piece("source", ("source", "camera_width", "camera_height", "camera_fps", "recovery"), open_camera),
        *sink_pieces(health)]


def _expected(error: Exception) -> MienError:
    """Return what is raised in place of an error that nobody raised on purpose."""
    if isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == OPENCV_NO_MEMORY):
        return RestartNeeded("expected memory for the next frame, found none left; this process ends, for its "
                             "supervisor to start another: lower max_faces or the camera's size if it comes again")
    return unexpected(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kiosk program and return its exit code; an error is one line on stderr."""
    parser = argparse.ArgumentParser(prog="stream.py", description="Read expressions from a camera until told to stop.")
    parser.add_argument("--config", type=Path, required=True, help="a stream.yaml; the repository's comments every key")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    args = parser.parse_args(arguments)
    logging.basicConfig(format="mien: %(message)s")
    forbid_core_dumps()
    try:
        summary = run_stream(load_config(args.config), lambda: load_config(args.config))
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return error.exit_code
    except ImportError as error:
        missing = missing_package(error)
        print(f"mien: {missing}", file=sys.stderr)
        return missing.exit_code
    except OSError as error:
        print(f"mien: expected to read and write files, found {error}; check the path and free space", file=sys.stderr)
        return FAILED
    print(summary.to_text(), file=sys.stderr)
    if args.json:
        print(summary.to_json())
    return DONE


if __name__ == "__main__":
    sys.exit(main())
