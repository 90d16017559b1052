"""A little of the disk, kept for the worst moment: a new slot that fills the disk must still be rolled back.

Knows nothing of what is written with it.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

NAME = "spare"
BYTES = 64 << 10  # a line of the journal, a look and a link take a block of 4 KiB each
T = TypeVar("T")


def keep_room(folder: Path) -> None:
    """Take the room, if it is not taken; on a full disk there is none, and it is tried again at the next update."""
    path = folder / NAME
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return
    try:
        os.posix_fallocate(handle, 0, BYTES)
    except OSError as error:
        log.warning("no room of %d KiB could be kept in %s: %s", BYTES >> 10, folder, error.strerror)
    finally:
        os.close(handle)


def with_room(folder: Path, work: Callable[[], T]) -> T:
    """Do some writing, and once more with the room given up where the disk is full. Raises what it raises."""
    try:
        return work()
    except OSError as error:
        if error.errno != errno.ENOSPC or not (folder / NAME).exists():
            raise
        (folder / NAME).unlink()
        log.warning("the disk under %s is full: the room that was kept for this is used", folder)
        return work()
