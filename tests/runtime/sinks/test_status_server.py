"""The small HTTP server, with raw sockets: what it answers, what it refuses, and what nobody can make it do."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.sinks import status_server
from runtime.sinks.status_server import MAX_CONNECTIONS, MAX_HEADER, Page, StatusServer


def broken() -> Page:
    raise RuntimeError("a page's own mistake")


@pytest.fixture(scope="module")
def server() -> Iterator[StatusServer]:
    with closing(StatusServer("127.0.0.1", 0, {"/livez": lambda: Page(200, b"alive\n"), "/broken": broken})) as serving:
        yield serving


def ask(server: StatusServer, request: bytes) -> bytes:
    """Send bytes, say that no more come, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        answer = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
        except OSError as error:  # refused before all was sent; a server that hangs is no such thing
            if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
                raise
        return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def get(path: str, host: str = "127.0.0.1", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def test_a_page_is_answered_whole(server: StatusServer) -> None:
    head, _, content = ask(server, get("/livez")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK") and content == b"alive\n"
    assert b"Content-Length: 6" in head and b"nosniff" in head and b"Connection: close" in head


def test_head_answers_no_content(server: StatusServer) -> None:
    assert ask(server, get("/livez", method="HEAD")).endswith(b"\r\n\r\n")


def test_a_query_is_ignored(server: StatusServer) -> None:
    assert status_of(ask(server, get("/livez?x=1"))) == 200


@pytest.mark.parametrize(("request_", "status"), [
    (get("/nowhere"), 404), (get("/livez/../x"), 404), (get("/livez", method="POST"), 405), (get("/broken"), 500),
    (b"\r\n\r\n", 400), (b"GET /livez\r\n\r\n", 400), (b"\x16\x03\x01\x02\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\n", 400),
    (b"GET /livez HTTP/1.1\r\n".ljust(MAX_HEADER + 1, b"a"), 431), (b"G" * (MAX_HEADER + 1), 431)])
def test_what_is_wrong_has_its_status(server: StatusServer, request_: bytes, status: int) -> None:
    assert status_of(ask(server, request_)) == status


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("localhost:9100", 200), ("127.0.0.1:9100", 200), ("[::1]:9100", 200), ("[::1]", 200),
    ("evil.example", 403), ("evil.example:80", 403), ("127.0.0.1.evil.example", 403), ("", 403),
    ("localhost\r\nHost: x", 403)])
def test_another_sites_name_for_this_machine_is_refused(server: StatusServer, host: str, status: int) -> None:
    assert status_of(ask(server, get("/livez", host))) == status


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_answered_with_anything_else_than_http(server: StatusServer, request_: bytes) -> None:
    assert status_of(ask(server, request_)) in {200, 400, 403, 404, 405, 431}


def test_a_taken_port_is_an_os_error(server: StatusServer) -> None:
    with pytest.raises(OSError, match="in use"):
        StatusServer("127.0.0.1", server.port, {})


def test_slow_readers_are_capped_and_given_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status_server, "MAX_SECONDS", 0.5)
    with closing(StatusServer("127.0.0.1", 0, {"/livez": lambda: Page(200, b"alive\n")})) as serving:
        idle = [socket.create_connection(("127.0.0.1", serving.port), timeout=10) for _ in range(MAX_CONNECTIONS)]
        for connection in idle:
            connection.sendall(b"GET /li")
        time.sleep(0.1)
        assert ask(serving, get("/livez")) == b""  # one too many: closed at once
        assert [status_of(connection.recv(1000)) for connection in idle] == [408] * MAX_CONNECTIONS
        for connection in idle:
            connection.close()
        deadline = time.monotonic() + 10
        while not ask(serving, get("/livez")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status_of(ask(serving, get("/livez"))) == 200
    assert capfd.readouterr().err == ""


def test_strangers_keep_none_of_this_machines_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger is played by loopback: the server takes 127.0.0.2, from which it connects, for another machine."""
    ours = status_server._Server._is_ours
    monkeypatch.setattr(status_server._Server, "_is_ours",
                        lambda self, client: client[0] != "127.0.0.2" and ours(self, client))
    with closing(StatusServer("0.0.0.0", 0, {"/readyz": lambda: Page(200, b"ready\n")})) as serving:
        strangers = [socket.create_connection(("127.0.0.1", serving.port), 10, ("127.0.0.2", 0))
                     for _ in range(MAX_CONNECTIONS + 1)]
        try:
            assert strangers[-1].recv(1) == b"", "one stranger too many is closed"
            assert status_of(ask(serving, get("/readyz"))) == 200
        finally:
            for each in strangers:
                each.close()


@pytest.mark.parametrize(("client", "served", "ours"), [
    ("127.0.0.1", "0.0.0.0", True), ("::ffff:127.0.0.1", "::", True), ("::1", "::", True),
    ("192.0.2.5", "192.0.2.5", True), ("192.0.2.6", "192.0.2.5", False), ("::ffff:192.0.2.6", "::", False),
    ("fe80::1%eth0", "::", False)])
def test_this_machine_is_told_from_strangers(client: str, served: str, ours: bool) -> None:
    server = status_server._Server.__new__(status_server._Server)
    server.server_address = (served, 9100)
    assert server._is_ours((client, 40000)) is ours


def test_a_system_without_threads_costs_no_place(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(MAX_CONNECTIONS + 1):
            assert ask(server, b"GET /livez HTTP/1.1\r\n\r\n") == b""
    assert status_of(ask(server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 200


def test_without_a_descriptor_left_the_server_rests_between_attempts_and_says_so_once(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, rests = [], list[float]()

    def accept(self: socket.socket) -> None:
        tries.append(self)
        raise OSError(errno.EMFILE, "Too many open files")

    def rest(seconds: float) -> None:
        rests.append(seconds)
        time.sleep(0.01)

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "accept", accept)
        patched.setattr(status_server, "time", SimpleNamespace(monotonic=time.monotonic, sleep=rest))
        waiting = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        waiting.sendall(get("/livez"))
        deadline = time.monotonic() + 10
        while len(rests) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    with waiting:
        assert status_of(waiting.recv(1000)) == 200, "who waited meanwhile is answered"
    assert len(tries) == len(rests) >= 3 and set(rests) == {status_server.EXHAUSTED_SECONDS}
    assert caplog.text.count("Too many open files; readers wait") == 1


def test_a_drip_of_bytes_does_not_stretch_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_server, "MAX_SECONDS", 0.5)
    with closing(StatusServer("127.0.0.1", 0, {})) as serving, \
            socket.create_connection(("127.0.0.1", serving.port), timeout=10) as connection:
        sent = 0
        connection.setblocking(False)
        with contextlib.suppress(ConnectionError):
            while sent < 1000:
                connection.send(b"a")
                sent += 1
                time.sleep(0.02)
                with contextlib.suppress(BlockingIOError):
                    assert status_of(connection.recv(1000)) == 408
                    break
    assert sent < 1000
