"""A bundle's bytes as a sender sends them, and an end to waiting for one that is gone.

A line that breaks without a word leaves sshd, and so this process with the slots' lock, waiting for hours: no rollback
could begin meanwhile. Knows nothing of bundles.
"""

from __future__ import annotations

import io
import os
import select
from typing import Any

from runtime.errors import BadInput

SECONDS = 120.0  # of silence; mien deploy's own ssh gives up after 15 s (export/deploy/remote.py)


class SentBytes(io.RawIOBase):
    """Reads a descriptor, and waits for each part no longer than `seconds`."""

    def __init__(self, descriptor: int, seconds: float = SECONDS):
        """Read a descriptor that stays its owner's to close."""
        self._descriptor, self._seconds = descriptor, seconds

    def readable(self) -> bool:
        """Say that it is read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill what has come into the buffer; return how many bytes that were, 0 at the end. Raises BadInput after too
        long a silence."""
        if not select.select([self._descriptor], [], [], self._seconds)[0]:
            raise BadInput(f"expected more of the bundle within {self._seconds:g} s, found silence; send it again")
        return os.readv(self._descriptor, [buffer])
