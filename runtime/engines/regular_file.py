"""Reads one regular file, once: follows no link, waits for no pipe, takes no more than it was told.

Whoever checks bytes must use those very bytes: a second read may give others. Knows nothing of what they mean.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import BadInput


def read_regular_file(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Return a file's bytes, at most `most`, and the status of the very file they came from.

    Raises FileNotFoundError where there is nothing, BadInput where there is something else or it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"expected a file that can be read, found {path}: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            raise BadInput(f"expected a file, found {what}: {path}")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(min(status.st_size, most) + 1)  # not most + 1: Python would allocate it all
    except OSError as error:  # a worn flash card says so here
        raise BadInput(f"expected a file that can be read, found {path}: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(content) > most:
        raise BadInput(f"expected at most {most} bytes in {path}, found more")
    return content, status
