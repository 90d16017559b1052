"""A real mosquitto with a site's configuration, and certificates that openssl made by its recipe."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from export.fleet.broker import acl, certificates_script, mosquitto_conf
from export.fleet.site import Site
from runtime.sinks.mqtt import MqttSink
from runtime.stream_config import MqttConfig

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (mien[mqtt])")

BROKER = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = [pytest.mark.skipif(BROKER is None, reason="no mosquitto here: apt-get install mosquitto"),
              pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make certificates with")]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def at_work(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, its broker running on a free port with its files in the site's folder."""
    folder = tmp_path_factory.mktemp("broker")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = dataclasses.replace(site, folder=folder, broker_port=port)
    (folder / "make-certificates.sh").write_text(certificates_script(site))
    subprocess.run(["sh", folder / "make-certificates.sh"], check=True, capture_output=True, cwd="/")
    (folder / "acl").write_text(acl(site))
    (folder / "mien.conf").write_text(mosquitto_conf(site) + "user root\n")  # or it gives up the right to read here
    with open(folder / "log", "wb") as log:
        running = subprocess.Popen([str(BROKER), "-c", str(folder / "mien.conf")], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port))
        yield site
    finally:
        running.kill()
        running.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Client:
    """Somebody with a certificate, who hears all that the broker lets through."""

    def __init__(self, site: Site, name: str, **tls: Any):
        from paho.mqtt.client import Client as Paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, bytes]] = []
        self.answers: list[int] = []
        self.client = Paho(CallbackAPIVersion.VERSION2, client_id=f"test-{name}")
        place = site.folder / "certificates"
        self.client.tls_set(ca_certs=str(place / "ca.pem"), **{
            "certfile": str(place / f"{name}.pem"), "keyfile": str(place / f"{name}.key"), **tls})
        self.client.on_subscribe = lambda *_: self.answers.append(0)
        self.client.on_publish = lambda *_: self.answers.append(1)
        self.client.on_message = self._hear
        self.client.connect(site.broker, site.broker_port)
        self.client.loop_start()

    def _hear(self, _: Any, __: Any, message: Any) -> None:
        if not message.retain:  # what the broker kept of an earlier test says nothing of this one
            self.heard.append((message.topic, message.payload))

    def ask(self, what: Callable[[], object]) -> None:
        """Do one thing and wait until the broker has answered."""
        before = len(self.answers)
        what()
        wait_until(lambda: len(self.answers) > before)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def config_of(site: Site, kiosk: str) -> MqttConfig:
    place = site.folder / "certificates"
    return MqttConfig(site.broker, site.broker_port, f"mien/{kiosk}", tls=True, ca_file=place / "ca.pem",
                      certificate=place / f"{kiosk}.pem", key=place / f"{kiosk}.key")


def test_the_monitor_hears_a_kiosks_own_stream(at_work: Site) -> None:
    with closing(Client(at_work, "monitor")) as monitor:
        monitor.ask(lambda: monitor.client.subscribe("mien/#", qos=1))
        with closing(MqttSink(config_of(at_work, "lobby"), {})) as sink:
            sink.publish("health", b'{"state":"running"}\n')
            wait_until(lambda: ("mien/lobby/events", b'{"state":"running"}') in monitor.heard)
            assert sink.trouble == ""
        wait_until(lambda: ("mien/lobby/status", b"offline") in monitor.heard)
        assert ("mien/lobby/health", b'{"state":"running"}') in monitor.heard


def test_a_kiosk_cannot_publish_as_another(at_work: Site) -> None:
    with closing(Client(at_work, "monitor")) as monitor, closing(Client(at_work, "cafe")) as cafe:
        monitor.ask(lambda: monitor.client.subscribe("mien/#", qos=1))
        # MQTT 3.1.1 tells the sender nothing: what is refused is acknowledged and dropped
        for topic in ("mien/lobby/events", "mien/lobby/status", "mien/cafe/other", "elsewhere"):
            cafe.ask(lambda topic=topic: cafe.client.publish(topic, b"forged", qos=1))  # type: ignore[misc]
        cafe.ask(lambda: cafe.client.publish("mien/cafe/events", b"own", qos=1))
        wait_until(lambda: monitor.heard)
        assert monitor.heard == [("mien/cafe/events", b"own")]


def test_a_kiosk_hears_nobody(at_work: Site) -> None:
    with (closing(Client(at_work, "monitor")) as monitor, closing(Client(at_work, "cafe")) as cafe,
          closing(Client(at_work, "lobby")) as lobby):
        for each in (monitor, cafe):
            each.ask(lambda each=each: each.client.subscribe("mien/lobby/events", qos=1))  # type: ignore[misc]
        lobby.ask(lambda: lobby.client.publish("mien/lobby/events", b"private", qos=1))
        wait_until(lambda: monitor.heard)
        assert cafe.heard == []


def test_the_monitor_publishes_nothing(at_work: Site) -> None:
    with closing(Client(at_work, "monitor")) as monitor:
        monitor.ask(lambda: monitor.client.subscribe("mien/#", qos=1))
        monitor.ask(lambda: monitor.client.publish("mien/lobby/events", b"forged", qos=1))
        monitor.ask(lambda: monitor.client.subscribe("mien/lobby/x", qos=1))  # answered after what was published
        assert monitor.heard == []


def test_plain_text_is_refused(at_work: Site) -> None:
    with socket.create_connection((at_work.broker, at_work.broker_port), timeout=10) as plain:
        plain.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil")  # MQTT 3.1.1's CONNECT
        try:
            answer = plain.recv(64)
        except ConnectionResetError:
            answer = b""
    assert b"\x20\x02\x00\x00" not in answer  # a CONNACK that accepts


@pytest.mark.parametrize("shown", ["none", "a stranger's"])
def test_without_a_certificate_of_the_site_nobody_connects(at_work: Site, tmp_path: Path, shown: str) -> None:
    context = ssl.create_default_context(cafile=at_work.folder / "certificates/ca.pem")
    if shown != "none":  # another authority, the same name
        (tmp_path / "make-certificates.sh").write_text(certificates_script(at_work))
        subprocess.run(["sh", tmp_path / "make-certificates.sh"], check=True, capture_output=True)
        context.load_cert_chain(tmp_path / "certificates/lobby.pem", tmp_path / "certificates/lobby.key")
    with (pytest.raises(OSError),  # TLS 1.3: the refusal arrives with the first read
          socket.create_connection((at_work.broker, at_work.broker_port), timeout=10) as plain,
          context.wrap_socket(plain, server_hostname=at_work.broker) as encrypted):
        encrypted.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil")
        if not encrypted.recv(64):
            raise ConnectionResetError


def test_the_recipe_run_again_changes_nothing_and_renews_what_is_gone(at_work: Site, tmp_path: Path) -> None:
    shutil.copytree(at_work.folder / "certificates", tmp_path / "certificates")
    (tmp_path / "make-certificates.sh").write_text(certificates_script(at_work))
    before = {p.name: p.read_bytes() for p in (tmp_path / "certificates").iterdir()}
    (tmp_path / "certificates/cafe.pem").unlink()
    subprocess.run(["sh", tmp_path / "make-certificates.sh"], check=True, capture_output=True)
    after = {p.name: p.read_bytes() for p in (tmp_path / "certificates").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"cafe.pem"} and set(before) == set(after)
    verified = subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "cafe.pem", "broker.pem"], check=True,
                              capture_output=True, text=True, cwd=tmp_path / "certificates")
    assert verified.stdout.split() == ["cafe.pem:", "OK", "broker.pem:", "OK"]


def test_keys_are_their_owners_only(at_work: Site) -> None:
    keys = list((at_work.folder / "certificates").glob("*.key"))
    assert len(keys) == 5 and {key.stat().st_mode & 0o777 for key in keys} == {0o600}
