"""Events to a real mosquitto on loopback: delivered, bounded, retained, and never at the cost of a frame."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from loopback import free_port
from mqtt_broker import Reader, needs_broker, start_broker, wait_until

from runtime.errors import BadInput
from runtime.sinks.events import EventLog
from runtime.sinks.mqtt import PASSWORD, MqttSink, read_password
from runtime.stream_config import MqttConfig

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (mien[mqtt])")

@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def broker(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    running = start_broker(tmp_path, port)
    yield running
    running.kill()
    running.wait()


class Relay:
    """Stands before the broker once it listens, and keeps its answers back until `answers` is set.

    asked: a first byte came.
    """

    def __init__(self, port: int):
        self.asked, self.answers = threading.Event(), threading.Event()
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._broker = socket.create_connection(("127.0.0.1", port))
        self._client: socket.socket | None = None

    def listen(self) -> None:
        self._listening.listen()
        threading.Thread(target=self._forth, daemon=True).start()

    def _forth(self) -> None:
        self._client, _ = self._listening.accept()
        threading.Thread(target=self._back, daemon=True).start()
        with suppress(OSError):
            while content := self._client.recv(1 << 16):
                self.asked.set()
                self._broker.sendall(content)

    def _back(self) -> None:
        with suppress(OSError):
            while content := self._broker.recv(1 << 16):
                self.answers.wait()
                assert self._client is not None
                self._client.sendall(content)

    def close(self) -> None:
        for each in (self._listening, self._broker, self._client):
            if each is not None:
                each.close()


def config_for(port: int, **values: object) -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=port, topic="kiosk", **values)  # type: ignore[arg-type]


@needs_broker
def test_every_event_arrives_in_order_and_health_is_retained(broker: object, port: int) -> None:
    with closing(Reader(port)) as reader:
        with closing(MqttSink(config_for(port), {})) as sink:
            log = EventLog(None)
            log.listeners.append(sink.publish)
            for number in range(50):
                log.write("faces", {"number": number})
            log.write("health", {"state": "running"})
            wait_until(lambda: len(reader.heard.get("kiosk/events", [])) == 51)
            assert sink.trouble == ""
        wait_until(lambda: reader.heard["kiosk/status"] == [b"online", b"offline"])
        assert [json.loads(p)["seq"] for p in reader.heard["kiosk/events"]] == list(range(51))
    with closing(Reader(port)) as late:
        wait_until(lambda: len(late.heard) == 2)
        assert json.loads(late.heard["kiosk/health"][0])["state"] == "running"
        assert late.heard["kiosk/status"] == [b"offline"]


@needs_broker
def test_the_broker_tells_others_when_we_fall_silent(broker: object, port: int) -> None:
    with closing(Reader(port)) as reader, closing(MqttSink(config_for(port), {})) as sink:
        wait_until(lambda: reader.heard.get("kiosk/status") == [b"online"])
        broken = sink._client.socket()
        assert broken is not None
        broken.shutdown(socket.SHUT_RDWR)  # no DISCONNECT: as a power cut
        wait_until(lambda: b"offline" in reader.heard["kiosk/status"])


@needs_broker
def test_events_wait_for_a_broker_that_comes_later(tmp_path: Path, port: int) -> None:
    with closing(MqttSink(config_for(port), {})) as sink:
        for number in range(10):
            sink.publish("faces", f'{{"seq":{number}}}\n'.encode())
        assert "no connection" in sink.trouble and sink.dropped == 0
        running = start_broker(tmp_path, port)
        try:
            with closing(Reader(port)) as reader:
                wait_until(lambda: len(reader.heard.get("kiosk/events", [])) == 10)
                wait_until(lambda: sink.trouble == "")
        finally:
            running.kill()
            running.wait()


@needs_broker
def test_the_last_health_is_retained_though_the_queue_was_full(tmp_path: Path, port: int) -> None:
    with closing(MqttSink(config_for(port, queue=3), {})) as sink:
        for state in ("camera-down", "degraded", "running"):
            sink.publish("health", f'{{"state":"{state}"}}\n'.encode())
        assert sink.dropped == 3, "one change fits, in both its topics, and half of the next"
        sink.turn()
        assert sink.dropped == 3, "what finds no room yet is not dropped again each second"
        running = start_broker(tmp_path, port)
        try:
            with closing(Reader(port)) as reader:
                wait_until(lambda: sink.trouble == "" and not sink._waiting and sink._has_room())
                sink.turn()
                wait_until(lambda: reader.heard.get("kiosk/health", [b""])[-1] == b'{"state":"running"}')
            with closing(Reader(port)) as late:
                wait_until(lambda: late.heard.get("kiosk/health"))
                assert late.heard["kiosk/health"] == [b'{"state":"running"}']
        finally:
            running.kill()
            running.wait()


@needs_broker
def test_events_that_come_while_it_connects_wait_for_the_older_ones(broker: object, port: int) -> None:
    # the broker's answer is held back, so that every event after the tenth meets a connection that is half made
    with (closing(Reader(port)) as reader, closing(Relay(port)) as relay,
          closing(MqttSink(config_for(relay.port), {})) as sink):
        for number in range(10):
            sink.publish("faces", f'{{"seq":{number}}}\n'.encode())
        relay.listen()
        wait_until(relay.asked.is_set)  # CONNECT came: paho has its socket
        for number in range(10, 60):
            sink.publish("faces", f'{{"seq":{number}}}\n'.encode())
        relay.answers.set()
        for number in range(60, 100):
            sink.publish("faces", f'{{"seq":{number}}}\n'.encode())
        wait_until(lambda: len(reader.heard.get("kiosk/events", [])) == 100)
        assert sink.dropped == 0
    assert [json.loads(p)["seq"] for p in reader.heard["kiosk/events"]] == list(range(100))


@needs_broker
def test_a_connection_that_breaks_loses_and_reorders_nothing(broker: object, port: int) -> None:
    with closing(Reader(port)) as reader, closing(MqttSink(config_for(port), {})) as sink:
        for number in range(300):
            sink.publish("faces", f'{{"seq":{number}}}\n'.encode())
            if number in (100, 200):
                wait_until(lambda sink=sink, times=number // 100: sink.connections == times)
                broken = sink._client.socket()
                assert broken is not None
                broken.shutdown(socket.SHUT_RDWR)

        def arrived() -> list[int]:
            return [json.loads(p)["seq"] for p in reader.heard.get("kiosk/events", [])]

        wait_until(lambda: len(set(arrived())) == 300)
    assert list(dict.fromkeys(arrived())) == list(range(300)), "one may come twice, none too early"


def test_a_full_queue_drops_and_counts(port: int) -> None:
    with closing(MqttSink(config_for(port, queue=5), {})) as sink:
        for _ in range(8):
            sink.publish("faces", b"{}\n")
        assert sink.dropped == 3


def test_a_broker_that_hangs_delays_nobody(port: int) -> None:
    with socket.socket() as silent:  # accepts, and never says a word
        silent.bind(("127.0.0.1", port))
        silent.listen(1)
        with closing(MqttSink(config_for(port), {})) as sink:
            slowest = 0.0
            for _ in range(500):
                begun = time.thread_time()
                sink.publish("faces", b"x" * 500)
                slowest = max(slowest, time.thread_time() - begun)
            begun = time.monotonic()
        assert time.monotonic() - begun < 5  # close waits for no answer either
        assert "no connection" in sink.trouble and slowest < 1


@needs_broker
def test_a_password_is_needed_given_and_never_told(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "correct horse battery"
    made = shutil.which("mosquitto_passwd")
    if made is None:
        pytest.skip("no mosquitto_passwd here: it comes with mosquitto")
    subprocess.run([made, "-b", "-c", tmp_path / "users", "kiosk", secret], check=True, capture_output=True)
    (tmp_path / "secret").write_text(secret + "\n")
    (tmp_path / "secret").chmod(0o600)
    running = start_broker(tmp_path, port, "allow_anonymous false", f"password_file {tmp_path / 'users'}")
    try:
        by_file = config_for(port, username="kiosk", password_file=tmp_path / "secret")
        for config, environment in ((by_file, {}), (config_for(port, username="kiosk"), {PASSWORD: secret})):
            with closing(MqttSink(config, environment)) as sink:
                wait_until(lambda sink=sink: sink.connections == 1)
        with closing(MqttSink(config_for(port, username="kiosk"), {PASSWORD: "wrong " + secret})) as sink:
            wait_until(lambda: "refused" in sink.trouble)
        assert secret not in caplog.text + sink.trouble + repr(by_file)
    finally:
        running.kill()
        running.wait()


@needs_broker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho drops the socket that it refused
def test_a_broker_is_verified_by_its_authority(tmp_path: Path, port: int) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", "key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, cwd=tmp_path)
    running = start_broker(tmp_path, port, "allow_anonymous true", f"certfile {tmp_path / 'ca.pem'}",
                           f"keyfile {tmp_path / 'key.pem'}")
    try:
        with closing(MqttSink(config_for(port, tls=True, ca_file=tmp_path / "ca.pem"), {})) as sink:
            wait_until(lambda: sink.connections == 1)
        with closing(MqttSink(config_for(port, tls=True), {})) as stranger:  # signed by nobody the system knows
            time.sleep(0.5)
            assert stranger.connections == 0 and stranger.trouble
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "secret").write_text("hidden")
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(BadInput, match="chmod 600") as caught:
        read_password(tmp_path / "secret", {})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(BadInput, match="password"):
        read_password(tmp_path / "secret", {})


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        read_password(tmp_path / "nowhere", {})


def test_a_missing_certificate_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="certificates in PEM"):
        MqttSink(config_for(1, tls=True, ca_file=tmp_path / "nowhere.pem"), {})
