"""One stream a state folder: a second one is refused, and told who the first is.

The kernel lets go of the lock when its process ends, however it ends; the file itself stays and means nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BadInput, Unavailable

LOCK = "stream.lock"


@contextmanager
def only_instance(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises Unavailable (exit 3) where another holds it, BadInput where none can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise BadInput(f"expected a folder to keep the service's state in, found {folder}: {error.strerror}; "
                       "choose another supervision.state") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
            who = f"process {holder}" if holder.isdecimal() else "a process"
            raise Unavailable(f"expected no other stream with the state folder {folder}, found {who}; "
                              "stop it first, or give this one another supervision.state") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
