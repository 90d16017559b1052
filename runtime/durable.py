"""Files that are whole or absent: written under a temporary name, flushed to the disk, then renamed.

Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BadInput


def fsync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut (POSIX asks for a separate fsync of the directory)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    """Flush one closed file's bytes to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")


def sweep(folder: Path, names: str, ending: str = "*") -> None:
    """Remove what killed writers of `names` left, `ending` the files' own (both glob patterns).

    The caller holds the lock that keeps others out.
    """
    for leftover in folder.glob(f".{names}.{'[0-9a-f]' * 8}.{ending}"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes `path`'s place, on any error it is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise BadInput(f"expected a folder to write {path.name} into, found {error}; choose another place") from error
    temporary = _temporary_name(path).with_suffix(path.suffix or ".tmp")  # writers pick a format by the ending
    try:
        yield temporary
        fsync_file(temporary)
        os.replace(temporary, path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or leave the old one."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file or leave the old one; of a file name that is not UTF-8, its bytes as escapes."""
    write_bytes(path, content.encode(errors="backslashreplace"))


@contextmanager
def replacing_directory(path: Path, keep_files: bool = False, known_by: str = "") -> Iterator[Path]:
    """Yield a temporary directory; on success it takes `path`'s place as a whole, else it is removed.

    It starts empty, or with `keep_files` as a copy of `path`. An old directory changes places with the new one in one
    step of the kernel, so that a crash leaves the one or the other. With `known_by`, only a directory that is empty or
    holds that file is replaced; of a symbolic link, what it names. Raises BadInput.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        foreign = path.exists() and (not path.is_dir() or bool(known_by and any(path.iterdir())
                                                               and not (path / known_by).is_file()))
    except OSError as error:
        raise BadInput(f"expected a folder to write {path.name} into, found {error}; choose another place") from error
    if foreign:  # somebody's own files
        raise BadInput(f"expected {path} to be absent, empty or a folder with {known_by or 'files to replace'}, found "
                       "something else, which would be lost; choose another place")
    temporary, aside = _temporary_name(path), _temporary_name(path)
    if keep_files and path.is_dir():
        shutil.copytree(path, temporary)
    else:
        temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                fsync_file(file)
        fsync_directory(temporary)
        if not path.exists():
            os.replace(temporary, path)
        elif not exchange(temporary, path):
            os.replace(path, aside)
            os.replace(temporary, path)
        fsync_directory(path.parent)
    finally:
        if not path.exists() and aside.exists():
            os.replace(aside, path)
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Swap two paths in one step; False where the system cannot (renameat2 is Linux's, and not every file system's).

    https://man7.org/linux/man-pages/man2/rename.2.html
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, rename_exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE in Linux's fcntl.h and fs.h
    return bool(renameat2(here, os.fsencode(first), here, os.fsencode(second), rename_exchange) == 0)
