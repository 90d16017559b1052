"""A run's folder belongs to one training at a time. Knows nothing of what its files mean.

The kernel lets go of the lock when its process ends, however it ends; the file itself stays and means nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.durable import sweep
from runtime.errors import BadInput

LOCK = "run.lock"
_WRITTEN = ("best", "last", "metrics.jsonl", "bad-batch*")  # what a killed training may have left half-written


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold a run's folder, and clear away what killed writers left in it.

    Raises BadInput where another process holds it, or where there can be no folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise BadInput(f"expected a folder to train in, found {out}: {error.strerror}; choose another --out") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"expected no other training in {out}, found one at work; wait for it, or choose another "
                           "--out") from error
        except OSError:  # a network file system without locks: its user keeps two trainings apart
            pass
        else:
            for name in _WRITTEN:
                sweep(out, name)
        yield
    finally:
        os.close(handle)
