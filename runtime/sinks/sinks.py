"""Where scenes go: events, MQTT, metrics, the dashboard, a video, a window. Each may fail without stopping inference.

Opens them and hands scenes on; knows nothing of what each writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from runtime.camera.source import FrameSource
from runtime.errors import BadInput, MienError, Unavailable
from runtime.pieces import Closable, Piece, Pieces
from runtime.pipeline import Scene, Tally
from runtime.privacy import is_clock_set, require_permission, why_not_record
from runtime.sinks.events import EventLog
from runtime.stream_config import StreamConfig
from runtime.supervision.health import Health

if TYPE_CHECKING:  # a sink is imported where it is asked for: a kiosk with events alone starts sooner
    from runtime.dashboard.publish import Publisher
    from runtime.sinks.mqtt import MqttSink
    from runtime.sinks.name_lookup import NameLookup

log = logging.getLogger(__name__)

DEFAULT_FPS = 25.0  # of the annotated video, where the source knows no rate
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # s before an address that could not be served is tried again, doubled each time


def sink_pieces(health: Health) -> list[Piece]:
    """Return how every sink is opened; a video begins beside a source."""
    def events(config: StreamConfig, beside: Mapping[str, Any]) -> Closable:
        return EventLog(config.events, config.event_files)

    def metrics(config: StreamConfig, beside: Mapping[str, Any]) -> Closable | None:
        if not config.metrics.port:
            health.report("metrics")
            return None
        from runtime.sinks.metrics import MetricsServer

        where = f"{config.metrics.host}:{config.metrics.port}"
        try:
            server = MetricsServer(config.metrics, health)
        except OSError as error:  # another program has the port: a stream that starts goes on without
            if health.state != "starting":
                raise Unavailable(f"expected to serve metrics on {where}, found: {error.strerror}; choose another "
                                  "port or host") from error
            log.warning("expected to serve metrics on %s, found: %s; the stream goes on, and tries again", where,
                        error.strerror)
            health.report("metrics", f"{where}: {error.strerror}")
            return None
        health.report("metrics")
        return server

    def dashboard(config: StreamConfig, beside: Mapping[str, Any]) -> Closable | None:
        if not config.dashboard.port:
            health.report("dashboard")
            return None
        from runtime.dashboard.publish import Publisher

        try:
            publisher = Publisher(config.dashboard, health)
        except BadInput as error:
            log.warning("%s; the stream goes on without", error)
            health.report("dashboard", str(error))
            return None
        health.report("dashboard")
        return publisher

    return [Piece("events", ("events", "event_files"), events),
            Piece("mqtt", ("mqtt",), _open_mqtt),
            Piece("metrics", ("metrics",), metrics, alone=True),  # another host of the same port is the same socket
            Piece("dashboard", ("dashboard",), dashboard),
            Piece("window", ("view",), _open_window),
            Piece("video", ("video",), _open_video)]


def _open_mqtt(config: StreamConfig, beside: Mapping[str, Any]) -> Closable | None:
    if not config.mqtt.host:
        return None
    from runtime.sinks.mqtt import MqttSink

    return MqttSink(config.mqtt)


def _open_window(config: StreamConfig, beside: Mapping[str, Any]) -> Closable | None:
    if not config.view:
        return None
    from runtime.sinks.window import Window

    return Window()


def _open_video(config: StreamConfig, beside: Mapping[str, Any]) -> Closable | None:
    return _Video(config, beside["source"]) if config.video else None


class Sinks:
    """Hands each scene to what is open now. Events go first, so that a slow picture never delays them."""

    def __init__(self, pieces: Pieces, health: Health):
        """Use pieces whose sinks a reload may replace."""
        self._pieces, self._health = pieces, health
        self.failed_pictures = 0  # that a window or a video did not take
        self.metrics_retries = 0  # of an address that could not be served
        self._wait, self._try_at = FIRST_WAIT, 0.0
        self._lookup: NameLookup | None = None  # of the address that is tried again
        self.join()

    def join(self) -> None:
        """Have MQTT hear of every event; again after a reload."""
        mqtt: MqttSink | None = self._pieces["mqtt"]
        self._pieces["events"].listeners[:] = [mqtt.publish] if mqtt else []

    def announce(self) -> None:
        """Have MQTT say again that this side is there; after a reload, whose old connection said goodbye."""
        if mqtt := self._pieces["mqtt"]:
            mqtt.announce()

    def __call__(self, scene: Scene) -> None:
        """Be the pipeline's sink."""
        labels = self._pieces["reading"].reader.labels
        self._pieces["events"].write_faces(scene.frame, scene.faces, scene.expressions, labels, scene.tracks,
                                           scene.steady)
        if dashboard := self._pieces["dashboard"]:
            dashboard.saw(scene)
        shows = {name: show for name, show in (("window", self._pieces["window"]), ("video", self._recording()))
                 if show is not None}
        if not shows:
            return
        from runtime.sinks.annotate import annotate

        drawn = annotate(scene.frame.image, scene.faces, scene.steady, labels, self._pieces.config.notice)
        for name, show in shows.items():
            self._show(name, show, drawn)

    def event(self, name: str, **fields: Any) -> None:
        """Write one event; MQTT listens."""
        self._pieces["events"].write(name, fields)

    @property
    def closed_by_person(self) -> bool:
        """Whether somebody closed the window."""
        window = self._pieces["window"]
        return window is not None and window.closed

    def counts(self) -> dict[str, int]:
        """Return what sinks lost so far, by name."""
        events: EventLog = self._pieces["events"]
        mqtt: MqttSink | None = self._pieces["mqtt"]
        dashboard: Publisher | None = self._pieces["dashboard"]
        return {"events_written": events.written, "events_lost": events.lost, "events_unsynced": events.unsynced,
                "events_repaired": events.repaired, "metrics_retries": self.metrics_retries,
                "pictures_failed": self.failed_pictures, **({"mqtt_dropped": mqtt.dropped} if mqtt else {}),
                **({"dashboard_failed": dashboard.failed} if dashboard else {})}

    def report(self) -> None:
        """Tell the health what sinks suffer from; once a second, so that no event waits for the next one."""
        mqtt: MqttSink | None = self._pieces["mqtt"]
        events: EventLog = self._pieces["events"]
        events.turn()
        if mqtt:
            mqtt.turn()
        self._health.report("events", events.trouble)
        self._health.report("mqtt", mqtt.trouble if mqtt else "")
        for name in ("window", "video"):
            if self._pieces[name] is None:  # a reload took it away with its trouble
                self._health.report(name)
        self._serve_again()
        if video := self._pieces["video"]:
            video.tell_left(self.event)
        self._recording()  # one whose time came ends though no frame comes

    def finish(self, tally: Tally) -> None:
        """End the events with their counts, and give the video its name."""
        self.end_events(tally)
        if self._pieces["video"]:
            self._pieces["video"].finish()

    def end_events(self, tally: Tally) -> None:
        """End the events with their counts; what did not reach the disk by now is lost, and counted."""
        counts = {k: v for k, v in vars(tally).items() if not k.endswith("_milliseconds")}
        events: EventLog = self._pieces["events"]
        self.event("end", **counts, lost_events=events.lost)
        events.close()

    def _serve_again(self) -> None:
        """Try an address again that was taken at the start, or while a reload that failed gave it back."""
        now = time.monotonic()
        if self._pieces["metrics"] or not self._pieces.config.metrics.port or self._health.state == "starting":
            self._wait, self._try_at = FIRST_WAIT, now
        elif now >= self._try_at:
            from runtime.sinks.name_lookup import NameLookup

            config = self._pieces.config
            if self._lookup is None or self._lookup.host != config.metrics.host:
                self._lookup = NameLookup(config.metrics.host)
            if not self._lookup.done:
                return
            address, self._lookup = self._lookup.address, None
            self._wait, self._try_at = min(2 * self._wait, LONGEST_WAIT), now + self._wait
            self.metrics_retries += 1
            try:
                if not address:
                    raise Unavailable(f"expected an address of metrics.host {config.metrics.host}, found none")
                self._pieces.open_again("metrics", replace(config, metrics=replace(config.metrics, host=address)))
            except (MienError, OSError) as error:
                self._health.report("metrics", f"{error}; it is tried again")

    def _recording(self) -> _Video | None:
        """Return the video if pictures may be kept now; one whose permission ended is finished, and that is told."""
        video: _Video | None = self._pieces["video"]
        if video is None or video.done:
            return None
        if not self._pieces["source"].live:
            return video
        recording = self._pieces.config.recording
        if not video.told and not is_clock_set():  # it begins once the clock is
            return None
        if why := why_not_record(recording):
            if not video.told:
                log.warning("expected a permission to record people, found %s; the stream goes on without video", why)
            self.event("recording", state="ended", found=why, purpose=recording.purpose)
            try:
                video.finish()
            except (MienError, OSError) as error:
                self._health.report("video", str(error))
            else:
                self._health.report("video")
            return None
        if not video.told:
            video.told = True
            self.event("recording", state="began", until=recording.until, purpose=recording.purpose)
        return video

    def _show(self, name: str, show: Any, drawn: np.ndarray) -> None:
        try:
            show.write(drawn)
        except (MienError, OSError, cv2.error) as error:
            self.failed_pictures += 1
            self._health.report(name, str(error).splitlines()[0])
        else:
            self._health.report(name)


class _Video:
    """A video file as a piece: a reload that replaces it leaves it whole."""

    def __init__(self, config: StreamConfig, source: FrameSource):
        from runtime.sinks.video import VideoFileWriter, recover

        assert config.video is not None  # the piece asked
        if source.live:
            require_permission(config.recording)
        self._writer = VideoFileWriter(config.video, source.fps or DEFAULT_FPS, keeps=source.live)
        self.write = self._writer.write
        self.done = self.told = False  # ended; its begin was made an event
        self._left: list[tuple[str, Path]] = []  # of killed streams, and how each was dealt with
        if source.live:
            try:
                named, removed = recover(config.video)
            except OSError as error:
                log.warning("expected to name what a killed stream left of %s, found: %s; mien purge removes it",
                            config.video, error.strerror)
            else:
                self._left = [("recovered", each) for each in named] + [("removed", each) for each in removed]

    def tell_left(self, event: Callable[..., object]) -> None:
        """Make events of what killed streams left, once."""
        while self._left:
            state, path = self._left.pop(0)
            log.warning("a killed stream left a recording: %s %s", path,
                        "is what plays of it" if state == "recovered" else "did not play and was removed")
            event("recording", state=state, file=path.name)

    def finish(self) -> None:
        """Give the file its name, once. Raises MienError where the disk was full."""
        if not self.done:
            self.done = True
            self._writer.finish()

    def close(self) -> None:
        """Finish what was not; a video without a frame leaves nothing."""
        try:
            self.finish()
        except (MienError, OSError) as error:  # a reload that closes this has done what it was asked
            log.warning("%s", error)
