"""A secret of this device, with which it knows the engines it made itself. Knows nothing of engines.

HMAC seals and checks with the same secret, so whoever may read it could seal: it is no defence against the user who
runs `mien prepare`, nor against root. docs/engine-cache.md says what it is a defence against.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from runtime.durable import replacing
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput

SECRET_BYTES = 32  # SHA-256's output; a shorter key would weaken the HMAC (RFC 2104, section 3)
FOR_OTHERS = 0o027  # group may read, so that a service of another user can check; others nothing, group no writing


def read_secret(path: Path) -> bytes | None:
    """Return the secret, or None where there is none (an empty file, as a power cut leaves, is none).

    Raises BadInput where another user owns it, may write it, or may read it without being of its group.
    """
    try:
        secret, status = read_regular_file(path, SECRET_BYTES)
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, os.geteuid()):
        raise BadInput(f"expected the secret {path} to be this user's or root's, found user {status.st_uid}'s; "
                       "remove it")
    if mode & FOR_OTHERS:
        raise BadInput(f"expected the secret {path} with mode 0600 or 0640, found 0{mode:o}: others may know it; "
                       "remove it")
    return secret if len(secret) == SECRET_BYTES else None


def make_secret(path: Path) -> bytes:
    """Write a new secret that only this user may read, whole or not at all, and return it."""
    secret = secrets.token_bytes(SECRET_BYTES)
    with replacing(path) as temporary:
        # 0600 from its first moment: a mode changed afterwards leaves a gap to read it in
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.write(secret)
    return secret
