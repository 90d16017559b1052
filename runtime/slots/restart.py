"""Have the kiosk restarted, and wait until it is: by `mien-restart.socket`, or by a command of a person's own.

mien's user may restart no unit, and polkit's rules differ between systems; systemd gives it a socket to ask at instead.
Knows nothing of slots.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from pathlib import Path

from runtime.errors import MienError

SOCKET = Path("/run/mien-restart.sock")  # ListenStream= of runtime/units/mien-restart.socket
SECONDS = 240.0  # the kiosk's TimeoutStopSec and TimeoutStartSec, and its engines found and proven between them
MOST_BYTES = 65536


def restart_service(command: str | None = None, asked_at: Path = SOCKET) -> None:
    """Restart the kiosk.

    command: run without a shell; '' restarts nothing, None asks at the socket. Raises MienError with exit code and last
    words where it did not restart.
    """
    if command is None:
        code, said = _ask(asked_at)
    elif command:
        code, said = _run(command)
    else:
        return
    if code:
        # systemctl's own last line says only where to look
        words = [line for line in said.strip().splitlines() if not line.startswith("See ")][-1:] or ["silence"]
        raise MienError(f"expected {command or 'mien-restart.socket'!r} to restart the service, found exit {code}: "
                        f"{words[0]}; journalctl -u mien-kiosk shows more")


def _ask(asked_at: Path) -> tuple[int, str]:
    """Connect, and read to the end: what systemctl said, and a last line `exit N`."""
    heard = b""
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(SECONDS)
            asked.connect(str(asked_at))
            while len(heard) < MOST_BYTES and (part := asked.recv(4096)):
                heard += part
    except TimeoutError as error:
        raise MienError(f"expected the service to be restarted within {SECONDS:g} s, found it still starting; "
                        "journalctl -u mien-kiosk shows why") from error
    except OSError as error:
        raise MienError(f"expected mien-restart.socket at {asked_at}, found: {error.strerror}; systemctl enable --now "
                        "mien-restart.socket, or name a command with --restart") from error
    if not (found := re.fullmatch(r"(?s)(.*?)exit (\d+)\n", heard.decode(errors="replace"))):
        raise MienError(f"expected mien-restart.socket to say how it ended, found {heard[-80:]!r}; journalctl -u "
                        "'mien-restart@*' shows more")
    return int(found[2]), found[1]


def _run(command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=SECONDS)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise MienError(f"expected {command!r} to restart the service, found: {error}; give --restart another "
                        "command") from error
    return done.returncode, done.stderr
