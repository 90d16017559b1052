"""Events and health to an MQTT broker, through a thread of paho-mqtt's own. The only importer of `paho`.

TOPIC/events: every event's JSON, QoS 1. TOPIC/health: the last change of health, retained. TOPIC/status, retained:
"online", and "offline" by the broker's hand (the last will) when this side falls silent. Knows no event's meaning.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import BadInput, Unavailable
from runtime.stream_config import MqttConfig

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

PASSWORD = "MIEN_MQTT_PASSWORD"
LONGEST_BACKOFF = 60  # s between attempts to connect; the first comes after one
CONNECT_SECONDS = 2.0
MAX_PASSWORD = 4096  # bytes
MESSAGE_BYTES = 1 << 16  # a line of 64 faces takes 16 KB


class MqttSink:
    """Publishes without waiting: what does not fit into the bounded queue is `dropped`, and counted."""

    def __init__(self, config: MqttConfig, environment: Mapping[str, str] = os.environ):
        """Begin to connect in a thread. Raises Unavailable without paho-mqtt, BadInput on a wrong file or password."""
        try:
            from paho.mqtt.client import Client, MQTT_ERR_SUCCESS  # noqa: I001
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise Unavailable('expected the package paho-mqtt for mqtt.host, found none; pip install "mien[mqtt]"'
                              ) from error
        self._topic, self._success = config.topic, MQTT_ERR_SUCCESS
        self.dropped = self.connections = 0
        self.trouble = f"no connection to {config.host} yet"  # for the health; '' while connected
        self._where = config.host
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(config.queue)
        client.reconnect_delay_set(1, LONGEST_BACKOFF)
        client.connect_timeout = CONNECT_SECONDS
        client.will_set(f"{config.topic}/status", "offline", qos=1, retain=True)
        password = read_password(config.password_file, environment)
        if config.username:
            client.username_pw_set(config.username, password)
        elif password is not None:
            raise BadInput("expected mqtt.username beside a password, found none; name the user")
        if config.tls:
            _use_tls(client, config)
        client.on_connect, client.on_disconnect, client.on_connect_fail = self._connected, self._gone, self._failed
        try:
            client.connect_async(config.host, config.port or (8883 if config.tls else 1883), config.keepalive)
        except ValueError as error:
            raise BadInput(f"expected an MQTT broker at mqtt.host, found {config.host!r}: {error}; correct it"
                           ) from error
        client.loop_start()

    def publish(self, event: str, line: bytes) -> None:
        """Queue one event; `health` is retained as well, so that who asks later knows."""
        if event == "health":
            self._queue("health", line, retain=True)
        self._queue("events", line)

    def close(self) -> None:
        """Say "offline" and go; what is queued is sent if the broker takes it within a second."""
        told = self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True)
        with suppress(RuntimeError, ValueError):  # never connected, or the queue is full: the last will says it
            told.wait_for_publish(1.0)
        self._client.disconnect()
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)  # it may be looking a name up
        ending.start()
        ending.join(1.0)

    def _queue(self, name: str, line: bytes, retain: bool = False) -> None:
        if len(line) > MESSAGE_BYTES:
            self.dropped += 1
            return
        sent = self._client.publish(f"{self._topic}/{name}", line.rstrip(b"\n"), qos=1, retain=retain)
        # NO_CONN keeps the message for the next connection; a full queue does not
        self.dropped += sent.rc not in (self._success, _no_connection())

    def _connected(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failed_because(f"{self._where} refused: {reason}")
            return
        self.connections += 1
        self.trouble = ""
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)

    def _gone(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self.trouble:  # a broker that refused says why first, and then this
            self._failed_because(f"the connection to {self._where} ended: {reason}")

    def _failed(self, client: Client, _: Any) -> None:
        self._failed_because(f"no connection to {self._where}")

    def _failed_because(self, why: str) -> None:
        if not self.trouble:
            log.warning("expected an MQTT broker, found: %s; trying again, events are queued", why)
        self.trouble = why


def read_password(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the password from a file that only its owner reads, or from MIEN_MQTT_PASSWORD. Raises BadInput."""
    if file is None:
        return environment.get(PASSWORD)
    try:
        with open(file, "rb") as opened:
            info = os.fstat(opened.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077:
                raise BadInput(f"expected a password file that only its owner reads, found {file} with mode "
                               f"{stat.S_IMODE(info.st_mode):o}; chmod 600 {file}")
            content = opened.read(MAX_PASSWORD + 1)
        password = content.decode().rstrip("\r\n")
    except OSError as error:
        raise BadInput(f"expected a password file, found {file}: {error.strerror}; write one with mode 600") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"expected a password of UTF-8 text, found other bytes in {file}; write it again") from error
    if not 0 < len(content) <= MAX_PASSWORD or not password:
        raise BadInput(f"expected a password of 1–{MAX_PASSWORD} bytes, found {len(content)} in {file}; write one")
    return password


def _use_tls(client: Client, config: MqttConfig) -> None:
    """Verify the broker by the system's authorities or `ca_file`; show a certificate where one is named."""
    try:
        client.tls_set(ca_certs=str(config.ca_file) if config.ca_file else None,
                       certfile=str(config.certificate) if config.certificate else None,
                       keyfile=str(config.key) if config.key else None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadInput(f"expected certificates in PEM for mqtt, found {error}; correct ca_file, certificate or key"
                       ) from error


def _no_connection() -> Any:
    from paho.mqtt.client import MQTT_ERR_NO_CONN

    return MQTT_ERR_NO_CONN
