"""The names of recordings: `queue.avi`, then `queue.000002.avi` and so on; none ever takes another's place.

A number follows the highest that is there, so that names stand in the order in which recordings ended. Knows nothing
of what a file holds.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.durable import fsync_directory, fsync_file

NUMBER_DIGITS = 6


def names_of(path: Path) -> str:
    """Return a regular expression of the names that recordings to `path` have; its first group is the number."""
    return rf"{re.escape(path.stem)}(?:\.([0-9]{{{NUMBER_DIGITS},9}}))?{re.escape(path.suffix)}"


def unfinished_names_of(path: Path) -> str:
    """Return a regular expression of what `durable.replacing` calls a file in work, or of a killed process."""
    return rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(path.suffix)}"


def keep(temporary: Path, path: Path) -> Path:
    """Flush a file and give it the next name; return that. Raises OSError."""
    fsync_file(temporary)
    while True:
        name = _next_name(path)
        try:  # two streams, one folder: whoever creates a name has it
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            break
        except FileExistsError:
            continue
    try:
        os.replace(temporary, name)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)
    return name


@contextmanager
def in_work(temporary: Path) -> Iterator[None]:
    """Say that a file is being written, until the body or the process ends: nobody then takes it for left behind."""
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def left_behind(path: Path) -> Iterator[list[Path]]:
    """Yield what killed processes left of recordings to `path`, oldest first, and keep others from it meanwhile."""
    found, handles = [], []
    try:
        for name in os.listdir(path.parent):
            if not re.fullmatch(unfinished_names_of(path), name):
                continue
            with suppress(OSError):  # another stream's in work, a link, or gone
                handles.append(os.open(path.parent / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
                fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                info = os.fstat(handles[-1])
                if stat.S_ISREG(info.st_mode):
                    found.append((info.st_mtime, path.parent / name))
        yield [each for _, each in sorted(found)]
    finally:
        for handle in handles:
            os.close(handle)


def is_in_work(path: Path) -> bool:
    """Return whether a process records to `path` now."""
    if not path.parent.is_dir():
        return False
    for name in os.listdir(path.parent):
        if re.fullmatch(unfinished_names_of(path), name):
            with suppress(OSError):
                handle = os.open(path.parent / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                finally:
                    os.close(handle)
    return False


def _next_name(path: Path) -> Path:
    there = [re.fullmatch(names_of(path), name) for name in os.listdir(path.parent)]
    highest = max((int(found[1] or 1) for found in there if found), default=0)
    return path.with_name(f"{path.stem}.{highest + 1:0{NUMBER_DIGITS}}{path.suffix}") if highest else path
