"""Asking for the kiosk's restart: over the socket, whose unit's own command answers, and by a command of a person's."""

from __future__ import annotations

import re
import shlex
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import MienError
from runtime.slots import restart
from runtime.slots.restart import SOCKET, restart_service

UNITS = Path(__file__).resolve().parents[3] / "runtime" / "units"
SYSTEMCTL = """#!/bin/sh
# reset-failed complains; restart notes itself, and ends as the file says
echo "$1 $2" >> {folder}/asked
if [ "$1" = restart ]; then cat {folder}/says >&2; exit $(cat {folder}/code); fi
echo "nothing to reset" >&2; exit 1
"""


class Instance(socketserver.BaseRequestHandler):
    """What systemd starts for a connection: the unit's command, with the connection as its three streams."""

    command = ""

    def handle(self) -> None:
        """Run it."""
        stream = self.request.fileno()
        subprocess.run(shlex.split(self.command), stdin=stream, stdout=stream, stderr=stream, check=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket as systemd would serve it, and a systemctl that does as it is told."""
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(folder=tmp_path))
    (tmp_path / "systemctl").chmod(0o755)
    unit = (UNITS / "mien-restart@.service").read_text()
    assert unit.count("=socket\n") == 3
    command = re.findall(r"^ExecStart=(.*)$", unit, flags=re.MULTILINE)[0].replace("$$", "$")  # systemd.service(5)
    monkeypatch.setattr(Instance, "command", command.replace("/bin/systemctl", str(tmp_path / "systemctl")))
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "socket"), Instance) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path
        server.shutdown()


def ends(folder: Path, code: int, says: str) -> None:
    (folder / "code").write_text(f"{code}\n")
    (folder / "says").write_text(says)


def test_a_restart_that_worked_is_silent(folder: Path) -> None:
    ends(folder, 0, "")
    restart_service(None, folder / "socket")
    asked = (folder / "asked").read_text().splitlines()
    assert asked == ["reset-failed mien-kiosk.service", "restart mien-kiosk.service"]


def test_a_restart_that_failed_is_told_with_its_exit_code(folder: Path) -> None:
    ends(folder, 3, 'Job for mien-kiosk.service failed.\nSee "journalctl -xeu mien-kiosk.service" for details.\n')
    with pytest.raises(MienError, match="found exit 3: Job for mien-kiosk.service failed"):
        restart_service(None, folder / "socket")


def test_a_unit_that_ended_without_an_answer_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Instance, "command", "echo stopped")
    with pytest.raises(MienError, match="to say how it ended, found b'stopped"):
        restart_service(None, folder / "socket")


def test_a_service_that_starts_too_long_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Instance, "command", "sleep 0.3")
    monkeypatch.setattr(restart, "SECONDS", 0.1)
    with pytest.raises(MienError, match="within 0.1 s, found it still starting"):
        restart_service(None, folder / "socket")


def test_without_the_socket_it_says_how_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="systemctl enable --now mien-restart.socket"):
        restart_service(None, tmp_path / "socket")


def test_it_is_asked_where_systemd_listens() -> None:
    unit = (UNITS / "mien-restart.socket").read_text()
    assert {f"ListenStream={SOCKET}", "SocketUser=mien", "SocketMode=0600", "Accept=yes"} <= set(unit.splitlines())


def test_a_command_of_ones_own_is_told_with_its_exit_code() -> None:
    restart_service("true")
    restart_service("")
    with pytest.raises(MienError, match="exit 1: silence"):
        restart_service("false")
    with pytest.raises(MienError, match="another command"):
        restart_service("/nonexistent")
