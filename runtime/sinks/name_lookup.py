"""A host's name → its address, asked in a thread: a resolver that is away keeps its caller for half a minute and more.

Knows nothing of who asks.
"""

from __future__ import annotations

import socket
import threading

from runtime.sinks.status_server import is_address


class NameLookup:
    """Asks once, from the start; `address` is '' where there is none."""

    def __init__(self, host: str):
        """Ask for a host's IPv4 address; an address is its own answer, at once."""
        self.host, self.address = host, ""
        self._thread: threading.Thread | None = None
        if ":" in host or is_address(host):
            self.address = host
        else:
            self._thread = threading.Thread(target=self._ask, daemon=True, name="lookup")
            self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the answer is there."""
        return self._thread is None or not self._thread.is_alive()

    def _ask(self) -> None:
        try:
            self.address = socket.gethostbyname(self.host)
        except (OSError, UnicodeError, TypeError):  # the latter where no such name can be
            self.address = ""
