"""The kiosk program in a real process, on an endless folder of one photograph; and a private mount namespace for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "runtime" / "stream.py"
PATIENCE = 60.0  # s for a start or an event; the machine may be busy


def folder_of(folder: Path, photo: np.ndarray, frames: int) -> Path:
    """Make a folder of one photograph under many names: links, so that it costs nothing."""
    folder.mkdir()
    cv2.imwrite(str(folder / "0.jpg"), cv2.resize(photo, (160, 188)))
    for number in range(1, frames):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


def endless_folder(folder: Path, photo: np.ndarray) -> str:
    """Make such a folder and return the source that reads it over and over, however fast that goes."""
    return f"file://{folder_of(folder, photo, 500)}?loop=1"


def write_config(path: Path, **keys: Any) -> Path:
    """Write a stream.yaml (JSON is YAML), paths as text."""
    path.write_text(json.dumps(keys, default=str))
    return path


def start(config: Path, fault: str = "", environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the program, with a fault of faulty_kiosk.py in it where one is named."""
    program = [str(ROOT / "tests" / "faulty_kiosk.py"), fault] if fault else [str(PROGRAM)]
    return subprocess.Popen([sys.executable, *program, "--config", str(config), "--json"], cwd=config.parent,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, **(environment or {})})


def events_in(path: Path) -> list[dict[str, Any]]:
    """Return every event of a file; each line must be whole."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_until(true: Callable[[], object], running: subprocess.Popen[str] | None = None) -> None:
    """Wait for something to become true; raises where it does not, or the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if running is not None and running.poll() is not None:
            raise AssertionError(f"the program ended with {running.returncode}: {running.communicate()[1]}")
        if time.monotonic() > deadline:
            if running is not None:
                running.kill()
            raise AssertionError(f"not within {PATIENCE:g} s")
        time.sleep(0.02)


def has_event(path: Path, event: str, **fields: Any) -> bool:
    """Whether an event with these fields is in a file that may be written to just now."""
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    named = f'"event":"{event}"'.encode()  # a stream writes thousands of others, and who asks asks often
    found = (json.loads(line) for line in whole if named in line)
    return any(line["event"] == event and fields.items() <= line.items() for line in found)


def finish(running: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Wait for the end; return exit code, summary and what was told to people."""
    out, told = running.communicate(timeout=PATIENCE)
    return running.returncode, json.loads(out) if out else {}, told


class Manager:
    """A service manager's socket: what was sent to it so far, as one text a datagram."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self._heard: list[str] = []

    def heard(self) -> list[str]:
        """Return all messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard.append(self._socket.recv(4096).decode())
        return self._heard

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
