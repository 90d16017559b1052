"""Who may see the page: a token of 256 bits from a file, sessions made of it, and how often it may be tried.

The token is compared in constant time and kept as a hash; it never stands in a URL, a log or a cookie. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from runtime.errors import BadInput

TOKEN = re.compile(r"[A-Za-z0-9_-]{43,128}")  # 43 characters of base64url are 256 bits
SESSION_SECONDS = 12 * 3600.0
SESSIONS = 64  # at once; the oldest goes
TRIES, TRY_SECONDS = 10, 6.0  # logins in a row, and after how long there is one more


def make_token(path: Path) -> None:
    """Write a new token to a file that is not there yet, mode 0600. Raises BadInput where it is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(f"expected to make {path}, found: {error.strerror}; remove the old one, or choose another "
                       "place") from error
    with open(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


def read_token(path: Path) -> str:
    """Return a file's token. Raises BadInput where others may read it, or it is too short to be safe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"expected a token file, found {path}: {error.strerror}; mien dashboard --make-token "
                       f"{path}") from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077:
            raise BadInput(f"expected {path} to be a file that its owner alone may read, found mode "
                           f"{stat.S_IMODE(info.st_mode):o}; chmod 600 it")
        token = os.read(handle, 1000).decode("ascii", "replace").strip()
    finally:
        os.close(handle)
    if not TOKEN.fullmatch(token):
        raise BadInput(f"expected 43 to 128 letters, digits, - and _ in {path}, found something else; "
                       "mien dashboard --make-token makes one")
    return token


class Access:
    """Judges tokens and sessions; without a token everybody who reaches the page may see it."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic):
        """Keep the token's hash alone."""
        self._token = _hash(token) if token else None
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()  # hash of a session → when it ends
        self._tries, self._tried = float(TRIES), clock()

    @property
    def is_needed(self) -> bool:
        """Whether anybody is asked for a token."""
        return self._token is not None

    def may_try(self) -> bool:
        """Count one attempt; False where too many came. One count for all: behind a tunnel all have one address."""
        now = self._clock()
        self._tries = min(float(TRIES), self._tries + (now - self._tried) / TRY_SECONDS)
        self._tried = now
        if self._tries < 1:
            return False
        self._tries -= 1
        return True

    def is_token(self, given: str) -> bool:
        """Compare in constant time, whatever the length."""
        return self._token is not None and hmac.compare_digest(_hash(given), self._token)

    def begin_session(self) -> str:
        """Return a new session's secret, for a cookie."""
        session = secrets.token_urlsafe(32)
        self._sessions[_hash(session)] = self._clock() + SESSION_SECONDS
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def is_session(self, given: str) -> bool:
        """Whether a session began with us, and did not end."""
        ends = self._sessions.get(_hash(given))
        return ends is not None and self._clock() < ends

    def end_session(self, given: str) -> None:
        """Forget a session."""
        self._sessions.pop(_hash(given), None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
