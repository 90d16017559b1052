"""Events and health to an MQTT broker, through a thread of paho-mqtt's own. The only importer of `paho`.

TOPIC/events: every event's JSON, QoS 1, in order; one that was under way when a connection broke may come twice, with
the same (run, seq). TOPIC/health: the last change of health, retained. TOPIC/status, retained: "online", and "offline"
by the broker's hand (the last will) when this side falls silent. Knows no event's meaning.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import BadInput, Unavailable
from runtime.stream_config import MqttConfig

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger(__name__)

PASSWORD = "MIEN_MQTT_PASSWORD"
LONGEST_BACKOFF = 60  # s between attempts to connect; the first comes after one
CONNECT_SECONDS = 2.0
MAX_PASSWORD = 4096  # bytes
MESSAGE_BYTES = 1 << 16  # a line of 64 faces takes 16 KB


class MqttSink:
    """Publishes without waiting: what does not fit into the bounded queue is `dropped`, and counted.

    paho sends what it is given as soon as there is a socket, also ahead of what it kept for this connection. So it is
    given nothing between the end of one connection and the first answer in the next, which comes after paho has sent
    all that it kept; meanwhile messages wait here.
    """

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
        self._most, self._waiting = config.queue, deque[tuple[str, bytes, bool]]()
        self._given = self._taken = 0  # messages to paho, and of those to the broker
        self._health: bytes | None = None  # the last change, where no room was left: the broker keeps an older one
        self._connects = self._flows = False  # connected, and nothing was answered yet; messages go to paho
        # held for a few lines only, and never while paho is called: paho's thread takes it in a callback
        self._turn = threading.Lock()
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(config.queue + 2)  # the bound is ours; "online" and "offline" find room
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
        client.on_publish = self._arrived
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

    def turn(self) -> None:
        """Queue the last change of health once there is room: what the broker keeps would be an older one for ever."""
        with self._turn:
            health = self._health if self._has_room() else None
        if health is not None:
            self._queue("health", health, retain=True)

    def announce(self) -> None:
        """Say "online" again: who had the topic before, and closes only now, said "offline" meanwhile."""
        if not self.trouble:
            self._give("status", b"online", retain=True)

    def close(self) -> None:
        """Say "offline" and go; what is queued is sent if the broker takes it within a second."""
        told = self._give("status", b"offline", retain=True)
        with suppress(RuntimeError, ValueError):  # never connected, or the queue is full: the last will says it
            told.wait_for_publish(1.0)
        self._client.disconnect()
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)  # it may be looking a name up
        ending.start()
        ending.join(1.0)

    def _queue(self, name: str, line: bytes, retain: bool = False) -> None:
        with self._turn:
            if len(line) > MESSAGE_BYTES or not self._has_room():
                self.dropped += 1
                if name == "health" and len(line) <= MESSAGE_BYTES:
                    self._health = line
                return
            if name == "health":
                self._health = None
            if not self._flows:
                self._waiting.append((name, line, retain))
                return
        self._give(name, line, retain)

    def _has_room(self) -> bool:
        return len(self._waiting) + self._given - self._taken < self._most

    def _give(self, name: str, line: bytes, retain: bool) -> MQTTMessageInfo:
        with self._turn:
            self._given += 1
        sent = self._client.publish(f"{self._topic}/{name}", line.rstrip(b"\n"), qos=1, retain=retain)
        if sent.rc not in (self._success, _no_connection()):  # NO_CONN: paho keeps it for the next connection
            with self._turn:
                self._given, self.dropped = self._given - 1, self.dropped + 1
        return sent

    def _connected(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failed_because(f"{self._where} refused: {reason}")
            return
        self.connections += 1
        self.trouble, self._connects = "", True
        self._give("status", b"online", retain=True)

    def _arrived(self, client: Client, _: Any, number: int, reason: Any, properties: Any) -> None:
        """Count a message that the broker took; with a connection's first, pass on what waits here."""
        with self._turn:
            self._taken += 1
        while self._connects:
            with self._turn:
                if not self._waiting:
                    self._connects, self._flows = False, True
                    return
                name, line, retain = self._waiting.popleft()
            self._give(name, line, retain)

    def _gone(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._turn:
            self._connects = self._flows = False
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
