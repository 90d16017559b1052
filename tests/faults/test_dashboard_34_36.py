"""Faults 34–36: viewers that dawdle, a port that is taken, requests that are none."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboard_page import start_page, stop_page, write_page_config
from kiosk import endless_folder, events_in, finish, has_event, start, wait_until, write_config
from loopback import free_port

Record = Callable[[str, object], None]

pytest.importorskip("uvicorn", reason="the page needs mien[dashboard]")
from runtime.dashboard.serve import MAX_CONNECTIONS  # noqa: E402

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, say that no more come, and return all that is answered within a few seconds."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while more := connection.recv(65536):
            answer += more
    return answer


def is_served(port: int) -> bool:
    return exchange(port, GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


@contextlib.contextmanager
def streaming(folder: Path, photo: np.ndarray, model: Path, port: int) -> Iterator[tuple[Any, Path, Path]]:
    """Run a real stream that publishes; yields its process, its events and its configuration."""
    events = folder / "e.jsonl"
    config = write_config(folder / "s.yaml", source=endless_folder(folder / "in", photo), model=model, events=events,
                          faces="haar", dashboard={"port": port, "folder": str(folder / "channel")})
    running = start(config)
    try:
        wait_until(lambda: has_event(events, "faces") and (folder / "channel" / "status.json").exists(), running)
        yield running, events, config
    finally:
        running.send_signal(signal.SIGTERM)
        finish(running)


def frames_of(folder: Path) -> int:
    return int(json.loads((folder / "channel" / "status.json").read_bytes()).get("tally", {}).get("frames", 0))


def test_34_slow_readers_and_slowloris(
    tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record
) -> None:
    record_property("fault", "34 slow reader, slowloris")
    record_property("injected", f"{MAX_CONNECTIONS} connections: silent, dripping, and reading nothing of the changes")
    port, held = free_port(), []
    with streaming(tmp_path, face_photo, tiny_model, port) as (running, events, config):
        page = start_page(config, "serve.REQUEST_SECONDS = serve.STUCK_SECONDS = 2.0")
        for number in range(MAX_CONNECTIONS + 10):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            if number < 8:  # never reads its changes, and is one viewer as long as the kernel takes them
                connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            held.append(connection)
        before = frames_of(tmp_path)
        dripped = given_up = 0
        deadline = time.monotonic() + 30
        while given_up < MAX_CONNECTIONS - 8 and time.monotonic() < deadline:
            for connection in held[8:]:
                with contextlib.suppress(OSError):
                    connection.send(b"G")
                    dripped += 1
            time.sleep(0.1)
            given_up = sum(is_closed(connection) for connection in held[8:])
        assert is_served(port)  # while eight still hold their connection
        wait_until(lambda: frames_of(tmp_path) > before + 10, running)
        for connection in held:
            connection.close()
        told = stop_page(page)
    assert given_up >= MAX_CONNECTIONS - 8 and dripped and told.count("\n") == 1
    assert [e for e in events_in(events) if e["event"] == "health" and e["state"] == "degraded"] == []
    record_property("observed", f"{given_up} connections given up after the deadline, the page answers others, "
                                "the stream's frames go on, no trouble reported")


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closed a connection; what it said before is thrown away."""
    connection.setblocking(False)
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_35_port_taken(tmp_path: Path, tiny_model: Path, face_photo: np.ndarray, record_property: Record) -> None:
    record_property("fault", "35 port taken")
    record_property("injected", "another program listens there first")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with streaming(tmp_path, face_photo, tiny_model, port) as (running, events, config):
            ended = subprocess.run([sys.executable, "-m", "runtime.dashboard", "--config", str(config)], timeout=60,
                                   capture_output=True, text=True, check=False)
            before = frames_of(tmp_path)
            wait_until(lambda: frames_of(tmp_path) > before, running)
            assert running.poll() is None
    assert ended.returncode == 3 and ended.stderr.count("\n") == 1 and f"127.0.0.1:{port}" in ended.stderr
    assert events_in(events)[-1]["ended"] == "stopped"
    record_property("observed", f"the page ends with 3, the stream goes on headless: {ended.stderr.strip()[:100]}")


def mutated(rng: random.Random) -> bytes:
    """Return a request with a few of its bytes changed, doubled, cut or replaced by noise."""
    request = bytearray(rng.choice([
        GET + b"\r\n", b"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Length: 7"
        b"\r\n\r\ntoken=a", GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        GET + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", GET + GET, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", GET + b"Cookie: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /preview.jpg?%00%ff HTTP/1.1\r\nHost: [::1\r\n\r\n", b"GET /page/..%2f..%2fsite.py HTTP/1.0\r\n\r\n"]))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(request))
        change = rng.randrange(4)
        if change == 0:
            request[at] = rng.randrange(256)
        elif change == 1:
            request[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif change == 2:
            del request[at : at + rng.randrange(1, 20)]
        else:
            request[at:at] = request[: rng.randrange(1, 60)]
        if not request:
            break
    return bytes(request)


def test_36_malformed_http_and_websocket(tmp_path: Path, record_property: Record) -> None:
    record_property("fault", "36 malformed HTTP or WebSocket")
    rng, number = random.Random(36), 1000
    record_property("injected", f"{number} mutated requests: HTTP/1, HTTP/2, TLS, WebSocket, chunks, traversal")
    port = free_port()
    page = start_page(write_page_config(tmp_path, port), "serve.REQUEST_SECONDS = 2.0")
    answers = {}
    for _ in range(number):
        request = mutated(rng)
        if b"/live" not in request:
            answer = exchange(port, request)
            status = (answer.split(b" ")[1] if answer.startswith(b"HTTP/1.1 ") else answer[:20]).decode("latin-1")
            answers[status] = answers.get(status, 0) + 1
    assert is_served(port)
    told = stop_page(page)
    assert {status for status in answers if not (status.isdecimal() and status[0] in "234")} <= {""}
    assert sum(n for status, n in answers.items() if status[:1] == "4") > number / 2
    assert told.count("\n") == 1 and "Traceback" not in told
    record_property("observed", f"statuses {dict(sorted(answers.items()))}, no traceback, still serving")
