"""Ports of this machine's loopback, and how a stream there says it is."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from http.client import HTTPException


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def state_at(port: int) -> str:
    """Return the state that /readyz of a stream names; '' where nobody answers."""
    try:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as page:
                content = page.read()
        except urllib.error.HTTPError as error:  # 503 while it is not ready
            content = error.read()
        return str(json.loads(content)["state"])
    except (OSError, HTTPException, ValueError, KeyError):  # it begins or ends just now
        return ""
