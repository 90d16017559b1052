"""The sinks together: a trouble that ends is taken back, and no server goes without its successor.

Real sockets, and a real mosquitto where there is one.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import queue
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from kiosk import wait_until
from loopback import free_port
from mqtt_broker import Reader, needs_broker, start_broker

from runtime.errors import MienError, Unavailable
from runtime.pieces import Piece, Pieces
from runtime.reload import reload_pieces
from runtime.sinks.event_files import EventFiles
from runtime.sinks.sinks import FIRST_WAIT, LONGEST_WAIT, Sinks, sink_pieces
from runtime.sinks.video import VideoFileWriter
from runtime.stream_config import MetricsConfig, MqttConfig, StreamConfig
from runtime.supervision.health import Change, Health
from runtime.supervision.stop_request import StopRequest
from runtime.supervision.systemd import Notifier

PICTURE = np.zeros((48, 64, 3), np.uint8)


class Stub(SimpleNamespace):
    """Stands for a reading or a source."""

    def close(self) -> None:
        """Nothing is open."""


class Running:
    """The sinks of one configuration, with their health."""

    def __init__(self, config: StreamConfig):
        self.health, self.changes = Health(), list[Change]()
        reading = Stub(facts=dict, fallback="", reader=Stub(labels=("happy",)))
        source = Stub(live=False, fps=10.0, name="s")
        stubs = [Piece("reading", (), lambda *_: reading), Piece("source", (), lambda *_: source)]
        self.pieces = Pieces([*stubs, *sink_pieces(self.health)], config)
        self.sinks = Sinks(self.pieces, self.health)
        self.health.tell = self.tell
        self.health.started()

    def tell(self, change: Change) -> None:
        self.changes.append(change)
        self.sinks.event("health", before=change.before, state=change.state, troubles=change.troubles)

    def close(self) -> None:
        self.pieces.__exit__(None, None, None)


def ready(host: str, port: int) -> int:
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", "/readyz")
        return connection.getresponse().status


@pytest.fixture
def serving() -> Iterator[tuple[Running, StreamConfig]]:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
    config = StreamConfig("s", metrics=MetricsConfig(port=free_port()))
    with closing(Running(config)) as running:
        yield running, config


def test_another_host_of_the_same_port_is_served_after_a_reload(serving: tuple[Running, StreamConfig]) -> None:
    running, config = serving
    port = config.metrics.port
    running.pieces.replace(replace(config, metrics=MetricsConfig(port, "127.0.0.2")))
    assert ready("127.0.0.2", port) == 200
    with pytest.raises(ConnectionRefusedError):
        ready("127.0.0.1", port)


def test_an_address_that_nobody_can_serve_leaves_the_old_server(serving: tuple[Running, StreamConfig]) -> None:
    running, config = serving
    with pytest.raises(Unavailable, match=r"expected to serve metrics on 192\.0\.2\.1:\d+, found: "):
        running.pieces.replace(replace(config, metrics=MetricsConfig(config.metrics.port, "192.0.2.1")))
    assert ready("127.0.0.1", config.metrics.port) == 200
    assert running.health.state == "running"


def test_a_port_that_another_program_has_leaves_the_old_server(serving: tuple[Running, StreamConfig]) -> None:
    running, config = serving
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="in use"):
        running.pieces.replace(replace(config, metrics=MetricsConfig(taken.getsockname()[1])))
    assert ready("127.0.0.1", config.metrics.port) == 200


def test_a_server_that_neither_address_takes_is_a_trouble(
    serving: tuple[Running, StreamConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    running, config = serving
    now = time.monotonic() + FIRST_WAIT
    monkeypatch.setattr("runtime.sinks.sinks.time", SimpleNamespace(monotonic=lambda: now))
    with monkeypatch.context() as neither:
        neither.setattr("runtime.sinks.metrics.MetricsServer", taken)
        with pytest.raises(Unavailable, match="in use"):
            running.pieces.replace(replace(config, metrics=MetricsConfig(config.metrics.port, "127.0.0.2")))
        running.sinks.report()
    assert running.health.state == "degraded" and "in use" in running.health.troubles["metrics"]
    now += LONGEST_WAIT
    running.sinks.report()
    assert running.health.state == "running" and ready("127.0.0.1", config.metrics.port) == 200


def test_a_port_that_was_taken_at_the_start_is_tried_again_ever_later_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = StreamConfig("s", metrics=MetricsConfig(port=taken.getsockname()[1]))
        running, now, tries = Running(config), time.monotonic(), []
        monkeypatch.setattr("runtime.sinks.sinks.time", SimpleNamespace(monotonic=lambda: now))
        for _ in range(300):  # five minutes
            now += 1
            running.sinks.report()
            tries.append(running.sinks.counts()["metrics_retries"])
        assert tries[0] == 1 and tries[59] == 6 and tries[-1] == 10
        assert [list(change.troubles) for change in running.changes] == [["metrics"]]
        assert caplog.text.count("expected to serve metrics") == 1
    now += 60
    with closing(running):
        running.sinks.report()
        assert running.health.state == "running" and ready("127.0.0.1", config.metrics.port) == 200


def test_a_resolver_that_is_away_keeps_no_frame_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
    answers, asked = queue.Queue[str](), list[str]()

    def resolve(host: str) -> str:
        asked.append(host)
        if not (answer := answers.get()):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return answer

    def away(*_: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("runtime.sinks.name_lookup.socket", SimpleNamespace(gethostbyname=resolve))
    config = StreamConfig("s", metrics=MetricsConfig(free_port(), "lobby.site.example"))
    with monkeypatch.context() as start:
        start.setattr("runtime.sinks.metrics.MetricsServer", away)
        running = Running(config)
    now = time.monotonic() + FIRST_WAIT
    monkeypatch.setattr("runtime.sinks.sinks.time", SimpleNamespace(monotonic=lambda: now))
    with closing(running):
        for retries, answer in enumerate(("", "127.0.0.1")):
            now += LONGEST_WAIT
            for _ in range(3):  # comes back though nobody has answered, and asks no second time
                running.sinks.report()
            wait_until(lambda now=retries: len(asked) > now)
            assert (len(asked), running.sinks.metrics_retries) == (retries + 1, retries)
            answers.put(answer)
            wait_until(lambda now=retries: running.sinks.report() or running.sinks.metrics_retries > now)
        assert running.health.state == "running" and ready("127.0.0.1", config.metrics.port) == 200
        assert running.pieces.config == config


def test_a_video_that_the_disk_does_not_flush_is_no_reload_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: VideoFileWriter) -> None:
        raise OSError(errno.EIO, "Input/output error")

    config = StreamConfig("s", video=tmp_path / "v.avi")
    with closing(Running(config)) as running, monkeypatch.context() as patched:
        old = running.pieces["video"]
        patched.setattr(VideoFileWriter, "finish", broken)
        assert running.pieces.replace(replace(config, video=None)) == ["video"]
        assert "Input/output error" in caplog.text
        old._writer.abandon()


class Screen:
    """A window that fails as often as it is told to."""

    def __init__(self, fails: list[Exception]):
        self._fails = fails

    def write(self, picture: np.ndarray) -> None:
        if self._fails:
            raise self._fails.pop()


def test_a_window_that_shows_again_is_no_trouble_any_more() -> None:
    with closing(Running(StreamConfig("s"))) as running:
        screen = Screen([MienError("expected a screen, found none"), cv2.error("(-2) no screen")])
        for _ in range(3):
            running.sinks._show("window", screen, PICTURE)
        assert running.sinks.failed_pictures == 2
        assert [(c.state, list(c.troubles)) for c in running.changes] == [
            ("running", []), ("degraded", ["window"]), ("running", [])]


def test_a_window_that_a_reload_took_away_takes_its_trouble_along() -> None:
    with closing(Running(StreamConfig("s"))) as running:
        running.health.report("window", "no screen")
        running.sinks.report()
        assert running.health.state == "running"


def test_a_video_without_an_encoder_does_not_pass_for_one_that_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = VideoFileWriter(tmp_path / "v.avi", 10.0)
    with monkeypatch.context() as patched:
        patched.setattr(cv2, "VideoWriter", Closed)
        for _ in range(2):
            with pytest.raises(MienError, match="found no encoder"):
                writer.write(PICTURE)
    writer.write(PICTURE)
    writer.finish()
    assert (tmp_path / "v.avi").stat().st_size > 0


class Closed:
    """A video writer that did not open."""

    fourcc = cv2.VideoWriter.fourcc

    def __init__(self, *_: object):
        """Take what OpenCV's takes."""

    def isOpened(self) -> bool:
        return False


def test_a_flush_that_fails_beside_the_frames_degrades_the_stream_until_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    config = StreamConfig("s", events=tmp_path / "e.jsonl", event_files=EventFiles(fsync_seconds=0.1))
    with closing(Running(config)) as running:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", broken)
            running.sinks.event("faces")
            wait_until(lambda: running.sinks.report() or running.health.troubles)
        assert running.health.troubles == {"events": "Input/output error"}
        assert running.sinks.counts()["events_unsynced"] >= 1
        running.sinks.event("health")
        wait_until(lambda: running.sinks.report() or not running.health.troubles)


@needs_broker
def test_after_a_reload_the_broker_still_knows_that_the_stream_is_there(tmp_path: Path) -> None:
    port = free_port()
    broker = start_broker(tmp_path, port)
    config = StreamConfig("s", mqtt=MqttConfig("127.0.0.1", port, "kiosk"))
    try:
        with closing(Running(config)) as running, closing(Reader(port)) as reader, closing(Notifier({})) as notifier:
            running.health.report("window", "no screen")
            wait_until(lambda: b"online" in reader.heard.get("kiosk/status", []))
            new = replace(config, mqtt=MqttConfig("127.0.0.1", port, "kiosk", keepalive=60))
            reload_pieces(running.pieces, lambda: new, running.sinks, running.health, notifier, StopRequest())
            wait_until(lambda: b"offline" in reader.heard["kiosk/status"])  # the old connection's goodbye
            wait_until(lambda: reader.heard["kiosk/status"][-1] == b"online")
            with closing(Reader(port)) as late:
                wait_until(lambda: "kiosk/status" in late.heard)
                assert set(late.heard["kiosk/status"]) == {b"online"}  # what is retained, and perhaps said just now
            moved = replace(config, mqtt=MqttConfig("127.0.0.1", port, "kiosk/b"))  # where nothing is retained yet
            reload_pieces(running.pieces, lambda: moved, running.sinks, running.health, notifier, StopRequest())
            wait_until(lambda: "kiosk/b/health" in reader.heard)
            told = json.loads(reader.heard["kiosk/b/health"][0])
            assert (told["state"], told["troubles"]) == ("degraded", {"window": "no screen"})
    finally:
        broker.kill()
        broker.wait()
