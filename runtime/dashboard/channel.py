"""The folder through which a stream tells its page: one writer, any number of readers, whole files or none.

A file is replaced by a rename, so a reader never waits and never sees half. Nothing is flushed to a disk: the folder is
meant to lie in memory (tmpfs), and a state that is seconds old is worth nothing after a power cut.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runtime.errors import BadInput

STATUS, PREVIEW = "status.json", "preview.jpg"
SCHEMA = 1  # of the status; the page of another version shows none
STATUS_BYTES = 16 << 10
PREVIEW_BYTES = 64 << 10  # 320 pixels wide; blurred about 5 KB, sharp about 20


def channel_folder(chosen: Path | None, environment: Mapping[str, str]) -> Path:
    """Return the folder: the configuration's, else systemd's RUNTIME_DIRECTORY, the login's, or /tmp/mien-UID."""
    if chosen:
        return chosen
    if given := environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if given := environment.get("XDG_RUNTIME_DIR", ""):
        return Path(given) / "mien"
    return Path(tempfile.gettempdir()) / f"mien-{os.geteuid()}"


def open_channel(folder: Path) -> int:
    """Make the folder (0700) where it is not, and return it opened. Raises BadInput where others may write there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"expected a folder for the dashboard, found {folder}: {error.strerror}; "
                       "choose another dashboard.folder") from error
    info = os.fstat(handle)
    if info.st_uid != os.geteuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(handle)
        raise BadInput(f"expected {folder} to be ours alone to write, found owner {info.st_uid} and mode "
                       f"{stat.S_IMODE(info.st_mode):o}; chmod 700 it, or choose another dashboard.folder")
    return handle


def put(folder: int, name: str, content: bytes) -> None:
    """Replace one file of an open folder. Raises OSError; the old file then stays."""
    temporary = f".{name}.tmp"  # one writer, so one name: what a killed one left is overwritten
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o640, dir_fd=folder)
    try:
        written = os.write(handle, content)
        if written < len(content):
            raise OSError(f"the disk took {written} of {len(content)} bytes")
    finally:
        os.close(handle)
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def take(path: Path, most: int) -> bytes | None:
    """Return a file's bytes; None where there is none, or it is no regular file of at most `most` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        return os.read(handle, most) if stat.S_ISREG(info.st_mode) and 0 < info.st_size <= most else None
    except OSError:
        return None
    finally:
        os.close(handle)
