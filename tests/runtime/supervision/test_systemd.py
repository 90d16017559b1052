"""What systemd hears, on a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.supervision.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(manager.recv(4096).decode())
    except BlockingIOError:
        return found


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_each_message_is_one_datagram(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager))) as notifier:
        notifier.ready("running: clip.mp4")
        notifier.needs_longer(1.5)
        notifier.stopping()
    assert heard(manager) == ["READY=1\nSTATUS=running: clip.mp4", "EXTEND_TIMEOUT_USEC=1500000\nWATCHDOG=1",
                              "STOPPING=1"]


def test_a_reload_carries_the_monotonic_clock(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager))) as notifier:
        notifier.reloading()
    (message,) = heard(manager)
    assert message.startswith("RELOADING=1\nMONOTONIC_USEC=") and int(message.partition("USEC=")[2]) > 0


def test_a_status_of_two_lines_sets_nothing_else(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager))) as notifier:
        notifier.status("a\nMAINPID=1")
    assert heard(manager) == ["STATUS=a MAINPID=1"]


def test_progress_is_told_at_most_four_times_an_interval(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    asked = environment(manager, WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid()))
    with closing(Notifier(asked)) as notifier:
        assert notifier.watchdog_seconds == 2.0
        for _ in range(100):  # two seconds at 50 turns a second
            notifier.progress()
            now[0] += 0.02
    assert heard(manager) == ["WATCHDOG=1"] * 4


def test_what_opens_is_vouched_for_as_long_as_it_may_take_and_no_longer(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager, WATCHDOG_USEC="200000"))) as notifier, notifier.opening(0.6):
        time.sleep(1.0)  # an engine that hangs
        told = heard(manager)
        time.sleep(0.4)
        after = heard(manager)
    assert told[0] == "EXTEND_TIMEOUT_USEC=600000\nWATCHDOG=1"
    assert set(told[1:]) == {"WATCHDOG=1"} and len(told) >= 3
    assert after == []


def test_nothing_is_vouched_for_once_it_is_open(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager, WATCHDOG_USEC="200000"))) as notifier:
        with notifier.opening(60):
            pass
        heard(manager)
        time.sleep(0.2)
    assert heard(manager) == []


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}])
def test_nobody_who_did_not_ask_is_pinged(manager: socket.socket, more: dict[str, str]) -> None:
    with closing(Notifier(environment(manager, **more))) as notifier:
        notifier.progress()
    assert heard(manager) == []


def test_an_abstract_socket_is_found() -> None:
    name = f"mien-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        with closing(Notifier({"NOTIFY_SOCKET": f"@{name}"})) as notifier:
            notifier.stopping()
        assert listening.recv(100) == b"STOPPING=1"


def test_a_manager_that_does_not_read_delays_nobody(manager: socket.socket) -> None:
    with closing(Notifier(environment(manager))) as notifier:
        for _ in range(5000):  # far more than a socket's queue holds
            notifier.status("running")
    assert 0 < len(heard(manager)) < 5000


@pytest.mark.parametrize("place", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_happens(place: dict[str, str]) -> None:
    notifier = Notifier(place)
    notifier.ready("running")
    notifier.close()
    notifier.status("after the end")
