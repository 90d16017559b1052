"""A real mosquitto on loopback, and a client that keeps every message."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

BROKER = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_broker = pytest.mark.skipif(BROKER is None, reason="no mosquitto here: apt-get install mosquitto")


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start_broker(folder: Path, port: int, *lines: str) -> subprocess.Popen[bytes]:
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *(lines or ["allow_anonymous true"]), ""]))
    assert BROKER is not None
    broker = subprocess.Popen([BROKER, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens)
    return broker


class Reader:
    """Another client, which keeps every message: {topic: [payload, …]}."""

    def __init__(self, port: int):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: dict[str, list[bytes]] = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("kiosk/#", qos=1)
        ready: list[int] = []
        self.client.on_subscribe = lambda *_: ready.append(1)
        self.client.on_message = lambda _, __, message: self.heard.setdefault(message.topic, []).append(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(lambda: ready)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
